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

std::size_t threads_wanted(const Config& config) {
    if (config.threads > 0) return static_cast<std::size_t>(config.threads);
    return std::clamp<std::size_t>(std::thread::hardware_concurrency(), 1, kMostByDefault);
}

}  // namespace

Analysis::Analysis(const Config& config, Wiring wiring)
    : station_(config.station),
      wiring_(std::move(wiring)),
      // Where a batch costs as much as its windows one by one, none waits for others.
      max_batch_(wiring_.classifier.gains_from_batches() ? static_cast<std::size_t>(config.max_batch) : 1),
      max_batch_delay_(wiring_.classifier.gains_from_batches() ? config.max_batch_delay : 0ms),
      classifiers_{&wiring_.classifier},
      results_(kAheadPerThread * threads_wanted(config),
               [this](Work work) {
                   tell(std::move(work));
                   ++told_;
               }),
      events_(std::make_unique<EventMaker>(station_, config.detection, wiring_.bundle, wiring_.sink, wiring_.metrics)),
      last_progress_(std::chrono::steady_clock::now()) {
    while (classifiers_.size() < threads_wanted(config)) {
        auto another = wiring_.classifier.for_another_thread();
        if (!another) break;
        classifiers_.push_back(another.get());
        more_classifiers_.push_back(std::move(another));
    }
}

void Analysis::start() {
    running_ = classifiers_.size();
    for (std::size_t i = 0; i < classifiers_.size(); ++i) {
        threads_.emplace_back([this, i] {
            name_this_thread(i == 0 ? "analysis" : fmt::format("analysis:{}", i + 1));
            run(*classifiers_[i]);
        });
    }
}

void Analysis::join() {
    for (auto& thread : threads_) {
        if (thread.joinable()) thread.join();
    }
}

void Analysis::adopt(DetectionConfig detection) {
    const std::lock_guard lock(detection_mutex_);
    next_detection_ = std::move(detection);
}

bool Analysis::wait_finished(std::chrono::milliseconds timeout) {
    std::unique_lock lock(finished_mutex_);
    return finished_changed_.wait_for(lock, timeout, [this] { return finished_.load(); });
}

void Analysis::rethrow_failure() const {
    if (failed()) std::rethrow_exception(failure_);
}

void Analysis::run(Classifier& classifier) {
    while (auto taken = take()) {
        auto& [number, work] = *taken;
        if (failing_) {
            work.dropped = DropReason::kError;
        } else if (std::chrono::steady_clock::now() > drain_until_.load()) {
            work.dropped = DropReason::kShutdown;
        } else if (!work.failure) {
            try {
                score(classifier, work);
            } catch (...) {
                work.failure = std::current_exception();
            }
        }
        results_.put(number, std::move(work));
    }
    // A thread that puts what isn't the next leaves it to the one that does: the last to end has told all.
    if (--running_ > 0) return;
    try {
        if (!failure_) events_->finish();
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
        work.batch = wiring_.queue.pop_batch(max_batch_, max_batch_delay_, kIdle);
    } catch (...) {
        work.failure = std::current_exception();
    }
    if (work.batch.empty() && wiring_.queue.drained()) return std::nullopt;
    return std::pair(next_number_++, std::move(work));
}

void Analysis::score(Classifier& classifier, Work& work) {
    std::vector<std::span<const float>> features;
    const auto begun = std::chrono::steady_clock::now();
    for (const auto& window : work.batch) {
        if (window.ends_stretch()) continue;
        features.push_back(window.features);
        wiring_.metrics.queue_seconds.Observe(std::chrono::duration<double>(begun - window.queued).count());
    }
    if (features.empty()) return;
    work.scores.resize(features.size() * classifier.classes());
    classifier.score(features, work.scores);
    wiring_.metrics.compute_seconds.Observe(seconds_since(begun));
    wiring_.metrics.batch_windows.Observe(static_cast<double>(features.size()));
}

// After a failure nothing is told any more.
void Analysis::tell(Work work) {
    last_progress_ = std::chrono::steady_clock::now();
    if (!failure_ && work.failure) fail(work.failure);
    if (failure_) {
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
        fail(std::current_exception());
        drop(work, DropReason::kError);
    }
}

void Analysis::tell_of_windows(Work& work) {
    const auto classes = wiring_.bundle.labels.size();
    std::size_t row = 0;
    for (auto& window : work.batch) {
        if (window.ends_stretch()) {
            events_->end_stretch(window.source, window.channel);
            continue;
        }
        const auto source = wiring_.source(window.source);
        const auto& name = source->config().name;
        const auto scores = std::span(work.scores).subspan(row++ * classes, classes);
        if (std::any_of(scores.begin(), scores.end(), [](float score) { return !std::isfinite(score); })) {
            throw std::runtime_error(
                fmt::format("the model gave a score that is no number (source {}, channel {}, sample {})", name,
                            window.channel, window.start_sample));
        }
        events_->add(name, window, scores);
        source->ledger().analysed(window.channel, std::exchange(window.booked_samples, 0));
        wiring_.metrics.top_score.Observe(static_cast<double>(*std::max_element(scores.begin(), scores.end())));
        wiring_.sink.on_scores(name, window, scores);
    }
}

void Analysis::adopt_next() {
    std::optional<DetectionConfig> next;
    {
        const std::lock_guard lock(detection_mutex_);
        next.swap(next_detection_);
    }
    if (!next) return;
    events_->finish();
    events_ = std::make_unique<EventMaker>(station_, std::move(*next), wiring_.bundle, wiring_.sink, wiring_.metrics);
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
