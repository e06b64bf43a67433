#include "daemon/source_door.h"

#include <fmt/format.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "config/program.h"

namespace chorus {

struct SourceDoor::Task {
    bool wait(std::chrono::milliseconds patience) {
        std::unique_lock lock(mutex);
        return ended.wait_for(lock, patience, [this] { return done; });
    }

    // What nobody waits for any more is closed by the thread that opened it.
    void end(std::unique_ptr<AudioSource> opened, std::exception_ptr error) {
        {
            std::unique_lock lock(mutex);
            failure = std::move(error);
            if (left) {
                lock.unlock();
                opened.reset();  // may hang: not done before
                lock.lock();
            } else {
                source = std::move(opened);
            }
            done = true;
        }
        ended.notify_all();
    }

    const MonotonicTime begun = std::chrono::steady_clock::now();
    std::mutex mutex;
    std::condition_variable ended;
    bool done = false;
    bool left = false;  // nobody will take the source
    std::unique_ptr<AudioSource> source;
    std::exception_ptr failure;
};

std::shared_ptr<SourceDoor::Task> SourceDoor::begin(const std::string& name,
                                                    std::function<std::unique_ptr<AudioSource>()> work) const {
    auto task = std::make_shared<Task>();
    std::thread([task, name, work = std::move(work)] {
        name_this_thread(name);
        try {
            task->end(work(), nullptr);
        } catch (...) {
            task->end(nullptr, std::current_exception());
        }
    }).detach();
    return task;
}

void SourceDoor::leave() {
    const auto task = std::exchange(opening_, nullptr);
    if (!task) return;
    std::unique_ptr<AudioSource> opened;
    {
        const std::lock_guard lock(task->mutex);
        task->left = true;
        opened = std::move(task->source);
    }
    close(std::move(opened), {});
}

// Leaves what hangs beyond hope.
void SourceDoor::despair() {
    std::erase_if(left_, [](const auto& task) { return task->wait({}); });
    const auto hopeless = [&](const std::shared_ptr<Task>& task) {
        return task && std::chrono::steady_clock::now() - task->begun > hopeless_ && left_.size() < kMostLeft &&
               !task->wait({});
    };
    if (hopeless(closing_)) left_.push_back(std::exchange(closing_, nullptr));
    if (hopeless(opening_)) {
        left_.push_back(opening_);
        leave();
    }
}

std::unique_ptr<AudioSource> SourceDoor::open(const SourceConfig& config, std::chrono::milliseconds patience) {
    despair();
    if (closing_) {
        if (!closing_->wait(patience)) return nullptr;
        closing_.reset();
    }
    if (!opening_) opening_ = begin("open:" + config.name, [open = open_, config] { return open(config); });
    if (!opening_->wait(patience)) return nullptr;
    const auto task = std::exchange(opening_, nullptr);
    if (task->failure) std::rethrow_exception(task->failure);
    return std::move(task->source);
}

void SourceDoor::close(std::unique_ptr<AudioSource> source, std::chrono::milliseconds patience) {
    if (!source) return;
    try {
        closing_ = begin("close", [held = std::shared_ptr<AudioSource>(std::move(source))]() mutable {
            held.reset();
            return nullptr;
        });
    } catch (const std::system_error&) {
        return;  // no thread to be had: it was closed here
    }
    if (closing_->wait(patience)) closing_.reset();
}

void SourceDoor::decline() {
    if (!opening_ || !opening_->wait({})) return;
    close(std::move(std::exchange(opening_, nullptr)->source), {});
}

bool SourceDoor::hopeless() const {
    const auto& task = closing_ ? closing_ : opening_;
    return left_.size() >= kMostLeft && task && std::chrono::steady_clock::now() - task->begun > hopeless_;
}

std::string SourceDoor::trouble() const {
    const auto& task = closing_ ? closing_ : opening_;
    if (!task) return "";
    const auto seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - task->begun).count();
    auto text = fmt::format("{} has taken {:.0f} s so far", closing_ ? "closing it" : "opening it", seconds);
    if (left_.size() == 1) text += ", 1 earlier attempt hangs";
    if (left_.size() > 1) text += fmt::format(", {} earlier attempts hang", left_.size());
    return text;
}

}  // namespace chorus
