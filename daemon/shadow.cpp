#include "daemon/shadow.h"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <set>
#include <stdexcept>

#include "config/program.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kLook = 500ms;  // without windows it looks so often whether there is another candidate
constexpr auto kRest = 2ms;    // between looks whether the live model has caught up

constexpr int kNice = 19;  // the least that still gets some time

// Of this thread alone, as Linux has it. Not SCHED_IDLE: it shares locks with the analysis, and a thread that gets no
// time while it holds one would have the analysis wait.
void take_the_lowest_priority() {
    setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNice);
}

std::set<std::string> codes_above(const Model& model, std::span<const float> thresholds,
                                  std::span<const float> scores) {
    std::set<std::string> codes;
    for (std::size_t label = 0; label < scores.size(); ++label) {
        if (scores[label] >= thresholds[label]) codes.insert(model.bundle().labels[label].code);
    }
    return codes;
}

}  // namespace

/// Takes one model's events.
class Shadow::Side : public DetectionSink {
  public:
    Side(EventComparison::Side side, EventComparison& comparison, DetectionSink* next)
        : side_(side), comparison_(comparison), next_(next) {}
    void on_event(Event event) override {
        comparison_.add(side_, event);
        if (next_ != nullptr) next_->on_shadow_event(std::move(event));
    }

  private:
    const EventComparison::Side side_;
    EventComparison& comparison_;
    DetectionSink* const next_;
};

/// Two models side by side.
struct Shadow::Comparison {
    Comparison(Pair models, const std::string& station, DetectionSink& sink, Metrics& metrics)
        : pair(std::move(models)),
          thresholds{thresholds_for(pair.live->bundle(), pair.detection),
                     thresholds_for(pair.candidate->bundle(), pair.detection)},
          events(
              [&metrics](const std::string& code, Found found) { metrics.count_shadow_event(code, to_string(found)); }),
          sides{Side(EventComparison::Side::kLive, events, nullptr),
                Side(EventComparison::Side::kCandidate, events, &sink)},
          live(station, pair.detection, pair.live, sides[0], nullptr),
          candidate(station, pair.detection, pair.candidate, sides[1], nullptr) {}
    ~Comparison() {
        live.finish();
        candidate.finish();
    }
    Comparison(const Comparison&) = delete;
    Comparison& operator=(const Comparison&) = delete;

    const Pair pair;
    const std::vector<float> thresholds[2];
    EventComparison events;
    Side sides[2];
    EventMaker live;
    EventMaker candidate;
};

Shadow::Shadow(std::string station, std::function<bool()> live_waits, DetectionSink& sink, Metrics& metrics)
    : station_(std::move(station)),
      live_waits_(std::move(live_waits)),
      sink_(sink),
      metrics_(metrics),
      inbox_(1, kRoom) {}

Shadow::~Shadow() {
    stop();
}

void Shadow::stop() {
    stopping_ = true;
    inbox_.close();
    if (thread_.joinable()) thread_.join();
}

void Shadow::compare(std::shared_ptr<const Model> live, std::shared_ptr<const Model> candidate,
                     DetectionConfig detection) {
    {
        const std::lock_guard lock(mutex_);
        metrics_.set_shadow_model(candidate ? candidate->id() : "");
        candidate_ = candidate;
        next_ = Pair{std::move(live), candidate, std::move(detection)};
        active_ = candidate != nullptr;
    }
    if (!candidate || thread_.joinable()) return;
    thread_ = std::jthread([this] {
        name_this_thread("shadow");
        take_the_lowest_priority();
        run();
    });
}

std::shared_ptr<const Model> Shadow::candidate() const {
    const std::lock_guard lock(mutex_);
    return candidate_;
}

void Shadow::offer(const std::string& source, Window window, std::span<const float> scores) {
    if (!active_) return;
    const auto skipped = inbox_.push_drop_oldest(
        0, {.source = source, .window = std::move(window), .scores = {scores.begin(), scores.end()}});
    if (skipped && !skipped->window.ends_stretch()) metrics_.count_shadow_window("skipped");
}

void Shadow::run() {
    while (!inbox_.drained()) {
        adopt_next();
        for (const auto& item : inbox_.pop_batch(1, 0us, kLook)) {
            while (!stopping_ && live_waits_()) std::this_thread::sleep_for(kRest);
            adopt_next();
            take(item);
        }
    }
    comparison_.reset();
}

void Shadow::adopt_next() {
    std::optional<Pair> next;
    {
        const std::lock_guard lock(mutex_);
        next.swap(next_);
    }
    if (!next) return;
    comparison_.reset();
    if (next->candidate) comparison_ = std::make_unique<Comparison>(std::move(*next), station_, sink_, metrics_);
}

void Shadow::take(const Item& item) {
    const auto& window = item.window;
    if (!comparison_) return;
    if (window.ends_stretch()) {
        comparison_->live.end_stretch(window.source, window.channel);
        comparison_->candidate.end_stretch(window.source, window.channel);
    } else if (window.model == comparison_->pair.live) {
        if (stopping_) return metrics_.count_shadow_window("skipped");
        try {
            score(item);
        } catch (const std::exception& error) {
            give_up(error.what());
        }
    }
}

void Shadow::give_up(const std::string& why) {
    const auto failed = comparison_->pair.candidate;
    comparison_.reset();
    spdlog::error("shadow: model {} fails and is run no more: {}", failed->id(), why);
    metrics_.count_shadow_window("failed");
    const std::lock_guard lock(mutex_);
    if (candidate_ != failed) return;  // another has come meanwhile
    candidate_.reset();
    active_ = false;
    metrics_.set_shadow_model("");
}

void Shadow::score(const Item& item) {
    auto& [pair, thresholds, events, sides, live, candidate] = *comparison_;
    const std::span<const float> features(item.window.features);
    std::vector<float> scores(pair.candidate->classes());
    const auto begun = std::chrono::steady_clock::now();
    pair.candidate->score({&features, 1}, scores);
    metrics_.shadow_compute_seconds.Observe(
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begun).count());
    if (!std::all_of(scores.begin(), scores.end(), [](float score) { return std::isfinite(score); }))
        throw std::runtime_error("it gives scores that are no numbers");

    const bool agreed =
        codes_above(*pair.live, thresholds[0], item.scores) == codes_above(*pair.candidate, thresholds[1], scores);
    metrics_.count_shadow_window(agreed ? "agreed" : "differed");
    live.add(item.source, item.window, item.scores);
    candidate.add(item.source, item.window, scores);
}

}  // namespace chorus
