#include "daemon/analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <stdexcept>
#include <thread>

#include "config/program.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kIdle = 500ms;               // without windows a thread shows so often that it is alive
constexpr std::size_t kAheadPerThread = 4;  // batches that may wait for an earlier one
constexpr std::size_t kMostByDefault = 16;  // threads: each takes some 6 MB

double seconds_since(MonotonicTime then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
}

}  // namespace

std::size_t scoring_threads(const Config& config) {
    if (config.threads > 0) return static_cast<std::size_t>(config.threads);
    return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostByDefault);
}

Analysis::Analysis(const Config& config, std::shared_ptr<const Model> model, Wiring wiring)
    : station_(config.station),
      wiring_(std::move(wiring)),
      // Where a batch costs as much as its windows one by one, none waits for others.
      max_batch_(model->gains_from_batches() ? static_cast<std::size_t>(config.max_batch) : 1),
      max_batch_delay_(model->gains_from_batches() ? config.max_batch_delay : 0ms),
      thread_count_(std::min(scoring_threads(config), model->classifiers())),
      results_(kAheadPerThread * scoring_threads(config),
               [this](Work work) {
                   tell(std::move(work));
                   ++told_;
               }),
      detection_(config.detection),
      model_(std::move(model)),
      last_progress_(std::chrono::steady_clock::now()) {}

void Analysis::start() {
    running_ = thread_count_;
    for (std::size_t i = 0; i < thread_count_; ++i) {
        threads_.emplace_back([this, i] {
            name_this_thread(i == 0 ? "analysis" : fmt::format("analysis:{}", i + 1));
            run();
        });
    }
}

void Analysis::join() {
    for (auto& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

void Analysis::adopt(DetectionConfig detection) {
    const std::lock_guard lock(next_mutex_);
    next_detection_ = std::move(detection);
}

void Analysis::adopt(std::shared_ptr<const Model> model) {
    const std::lock_guard lock(next_mutex_);
    next_model_ = std::move(model);
}

void Analysis::put_on_trial(const std::shared_ptr<const Model>& model) {
    const std::lock_guard lock(trial_mutex_);
    on_trial_ = model;
    trial_ = {};
}

ModelTrial Analysis::trial() const {
    const std::lock_guard lock(trial_mutex_);
    return trial_;
}

// Whether it was the failure of a model on trial.
bool Analysis::forgive(const Work& work, const std::exception_ptr& failure) {
    const std::lock_guard lock(trial_mutex_);
    const auto model = on_trial_.lock();
    const bool its = model && std::any_of(work.batch.begin(), work.batch.end(),
                                          [&](const Window& window) { return window.model == model; });
    if (!its) return false;
    try {
        std::rethrow_exception(failure);
    } catch (...) {
        trial_.failure = current_exception_message();
    }
    wiring_.metrics.inference_errors.Increment();
    return true;
}

void Analysis::note_on_trial(const Window& window, std::int64_t events) {
    const std::lock_guard lock(trial_mutex_);
    if (on_trial_.lock() != window.model) return;
    trial_.events += events;
    trial_.hours += window.hop_seconds / 3600;
}

bool Analysis::wait_finished(std::chrono::milliseconds timeout) {
    std::unique_lock lock(finished_mutex_);
    return finished_changed_.wait_for(lock, timeout, [this] { return finished_.load(); });
}

void Analysis::rethrow_failure() const {
    if (failed()) std::rethrow_exception(failure_);
}

void Analysis::run() {
    while (auto taken = take()) {
        auto& [number, work] = *taken;
        if (failing_) {
            work.dropped = DropReason::kError;
        } else if (std::chrono::steady_clock::now() > drain_until_.load()) {
            work.dropped = DropReason::kShutdown;
        } else if (!work.failure) {
            try {
                score(work);
            } catch (...) {
                work.failure = std::current_exception();
            }
        }
        results_.put(number, std::move(work));
    }
    // A thread that puts what isn't the next leaves it to the one that does: the last to end has told all.
    if (--running_ > 0) return;
    try {
        if (!failure_) {
            for (const auto& events : events_) events->finish();
        }
    } catch (...) {
        fail(std::current_exception());
    }
    {
        const std::lock_guard lock(finished_mutex_);
        finished_ = true;
    }
    finished_changed_.notify_all();
}

// Nothing once the queue is closed and drained. Without windows the work is to look whether there are new rules.
std::optional<std::pair<std::uint64_t, Analysis::Work>> Analysis::take() {
    const std::lock_guard lock(take_mutex_);
    Work work;
    try {
        work.batch = wiring_.queue.pop_batch(max_batch_, max_batch_delay_, kIdle, [](const Window& window) {
            return std::chrono::steady_clock::now() - window.queued;
        });
    } catch (...) {
        work.failure = std::current_exception();
    }
    if (work.batch.empty() && wiring_.queue.drained()) return std::nullopt;
    return std::pair(next_number_++, std::move(work));
}

// A batch may hold windows of two models for a moment: those that follow one another for the same one go together.
void Analysis::score(Work& work) {
    std::vector<std::span<const float>> features;
    const auto begun = std::chrono::steady_clock::now();
    for (std::size_t i = 0; i < work.batch.size(); ++i) {
        const auto& window = work.batch[i];
        if (!window.ends_stretch()) {
            features.push_back(window.features);
            wiring_.metrics.queue_seconds.Observe(std::chrono::duration<double>(begun - window.queued).count());
        }
        const bool more = i + 1 < work.batch.size() && work.batch[i + 1].model == window.model;
        if (more || features.empty()) continue;
        const auto scored = work.scores.size();
        work.scores.resize(scored + features.size() * window.model->classes());
        window.model->score(features, std::span(work.scores).subspan(scored));
        wiring_.metrics.batch_windows.Observe(static_cast<double>(features.size()));
        features.clear();
    }
    if (!work.scores.empty()) wiring_.metrics.compute_seconds.Observe(seconds_since(begun));
}

// After a failure nothing is told any more.
void Analysis::tell(Work work) {
    last_progress_ = std::chrono::steady_clock::now();
    const bool forgiven = !failure_ && work.failure && forgive(work, work.failure);
    if (!failure_ && work.failure && !forgiven) fail(work.failure);
    if (failure_ || forgiven) {
        drop(work, DropReason::kError);
        return;
    }
    try {
        adopt_next();
        if (work.dropped) {
            drop(work, *work.dropped);
        } else {
            tell_of_windows(work);
        }
    } catch (...) {
        if (!forgive(work, std::current_exception())) fail(std::current_exception());
        drop(work, DropReason::kError);
    }
}

void Analysis::tell_of_windows(Work& work) {
    std::size_t told = 0;  // of the scores
    for (auto& window : work.batch) {
        if (window.ends_stretch()) {
            for (const auto& events : events_) events->end_stretch(window.source, window.channel);
            wiring_.shadow.offer("", std::move(window), {});
            continue;
        }
        const auto source = wiring_.source(window.source);
        const auto& name = source->config().name;
        const auto scores = std::span(work.scores).subspan(told, window.model->classes());
        told += scores.size();
        if (std::any_of(scores.begin(), scores.end(), [](float score) { return !std::isfinite(score); })) {
            throw std::runtime_error(
                fmt::format("the model gave a score that is no number (source {}, channel {}, sample {})", name,
                            window.channel, window.start_sample));
        }
        auto& events = events_of(window);
        const auto opened = events.opened();
        events.add(name, window, scores);
        note_on_trial(window, events.opened() - opened);
        source->ledger().analysed(window.channel, std::exchange(window.booked_samples, 0));
        wiring_.metrics.top_score.Observe(static_cast<double>(*std::max_element(scores.begin(), scores.end())));
        wiring_.sink.on_scores(name, window, scores);
        wiring_.shadow.offer(name, std::move(window), scores);
    }
}

// The one of the window's model; the others' events on its channel are over.
EventMaker& Analysis::events_of(const Window& window) {
    EventMaker* own = nullptr;
    for (const auto& events : events_) {
        if (events->model() == window.model.get()) {
            own = events.get();
        } else {
            events->give_way(window);
        }
    }
    if (own != nullptr) return *own;
    events_.push_back(std::make_unique<EventMaker>(station_, detection_, window.model, wiring_.sink, &wiring_.metrics));
    return *events_.back();
}

void Analysis::adopt_next() {
    {
        const std::lock_guard lock(next_mutex_);
        if (next_model_) model_ = std::exchange(next_model_, nullptr);
        if (next_detection_) {
            for (const auto& events : events_) events->finish();
            events_.clear();
            detection_ = std::move(*std::exchange(next_detection_, std::nullopt));
        }
    }
    std::erase_if(events_, [this](const auto& events) { return events->idle() && events->model() != model_.get(); });
}

// Books what is not booked yet.
void Analysis::drop(const Work& work, DropReason reason) {
    for (const auto& window : work.batch) {
        if (window.booked_samples > 0)
            wiring_.source(window.source)->ledger().dropped(window.channel, window.booked_samples, reason);
    }
}

void Analysis::fail(std::exception_ptr failure) {
    failure_ = std::move(failure);
    failing_ = true;
    wiring_.metrics.inference_errors.Increment();
    wiring_.queue.close();
}

}  // namespace chorus
