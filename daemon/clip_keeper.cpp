#include "daemon/clip_keeper.h"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "config/program.h"
#include "daemon/event_maker.h"
#include "daemon/json_text.h"
#include "daemon/time_format.h"
#include "streaming/sample_clock.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kMostWaiting = 32;  // clips
constexpr auto kComplaint = 60s;          // between log lines on what can't be written
constexpr auto kLook = 1000ms;
constexpr double kDelaySeconds = 5.0;  // that windows may wait for the classifier without their sound being gone
constexpr double kUncertain = 1.0;     // in log-odds below the threshold

std::int64_t samples(double seconds, int sample_rate_hz) {
    return static_cast<std::int64_t>(std::llround(seconds * sample_rate_hz));
}

double log_odds(float score) {
    const double p = std::clamp(static_cast<double>(score), 1e-6, 1.0 - 1e-6);
    return std::log(p / (1.0 - p));
}

/// A word that any file system takes and that holds no separator.
std::string word(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](unsigned char c) { return !std::isalnum(c) && c != '-'; }, '-');
    return text.empty() ? "-" : text;
}

}  // namespace

std::string to_string(ClipKind kind) {
    switch (kind) {
        case ClipKind::kEvent:
            return "event";
        case ClipKind::kUncertain:
            return "uncertain";
        case ClipKind::kRandom:
            return "random";
    }
    return "";
}

ClipKeeper::ClipKeeper(ClipsConfig config, std::string station, const Bundle& bundle, DetectionSink& next,
                       Metrics& metrics)
    : config_(std::move(config)),
      station_(std::move(station)),
      run_(fmt::format("{:06x}", std::random_device()() & 0xFFFFFFU)),
      next_(next),
      metrics_(metrics),
      window_seconds_(bundle.front_end.window_seconds),
      waiting_(1, kMostWaiting),
      store_(config_.folder, {.max_bytes = std::int64_t{config_.max_mib} << 20,
                              .min_free_bytes = std::int64_t{config_.min_free_mib} << 20}),
      complaints_(kComplaint) {
    thread_ = std::jthread([this] {
        name_this_thread("clips");
        run();
    });
}

ClipKeeper::~ClipKeeper() {
    waiting_.close();
}

std::shared_ptr<SoundMemory> ClipKeeper::sound_memory(std::size_t source) {
    const std::lock_guard lock(memories_mutex_);
    auto memory = std::make_shared<SoundMemory>(memory_length());
    memories_[source] = memory;
    return memory;
}

// What a clip may hold, and what passes until the last of it is scored.
std::chrono::milliseconds ClipKeeper::memory_length() const {
    const double seconds =
        config_.before_seconds + config_.max_seconds + config_.after_seconds + 2 * window_seconds_ + kDelaySeconds;
    return std::chrono::milliseconds(std::llround(seconds * 1e3));
}

void ClipKeeper::forget(std::size_t source) {
    const std::lock_guard lock(memories_mutex_);
    memories_.erase(source);
}

void ClipKeeper::adopt(const DetectionConfig& detection) {
    const std::lock_guard lock(rules_mutex_);
    next_rules_ = detection;
}

// Each window against the thresholds of its own model; they change when that or the rules do.
void ClipKeeper::hold_against(const Model& model) {
    {
        const std::lock_guard lock(rules_mutex_);
        if (!next_rules_ && model.id() == model_) return;
        if (next_rules_) rules_ = std::move(*std::exchange(next_rules_, std::nullopt));
    }
    model_ = model.id();
    thresholds_ = thresholds_for(model.bundle(), rules_);
    const std::lock_guard lock(memories_mutex_);
    window_seconds_ = model.bundle().front_end.window_seconds;
    for (const auto& [source, memory] : memories_) memory->set_length(memory_length());
}

void ClipKeeper::on_event(Event event) {
    const Key key{event.slot, event.channel, event.code};
    if (event.phase == EventPhase::kOpen) {
        kept_.erase(key);
        open_[key] = clip_of(event);
    } else if (const auto found = open_.find(key); found != open_.end()) {
        auto& clip = found->second;
        clip.score = event.peak_score;
        if (event.phase == EventPhase::kClose) {
            event.clip = clip.path + ".flac";
            clip.end = std::min(clip.end, event.end_sample + samples(config_.after_seconds, event.sample_rate_hz));
            keep(std::move(clip));
            open_.erase(found);
        }
    } else if (const auto kept = kept_.find(key); kept != kept_.end()) {
        event.clip = kept->second;
        if (event.phase == EventPhase::kClose) kept_.erase(kept);
    }
    next_.on_event(std::move(event));
}

void ClipKeeper::on_scores(const std::string& source, const Window& window, std::span<const float> scores) {
    for (auto each = open_.lower_bound({window.source, window.channel, ""}); each != open_.end();) {
        auto& [key, clip] = *each;
        if (clip.slot != window.source || clip.channel != window.channel) break;
        if (window.end_sample < clip.end) {
            ++each;
            continue;
        }
        kept_[key] = clip.path + ".flac";
        keep(std::move(clip));
        each = open_.erase(each);
    }
    hold_against(*window.model);
    keep_uncertain(source, window, scores);
    keep_random(source, window);
    next_.on_scores(source, window, scores);
}

// At most so many a class and day, spread over the day by chance, so that they aren't all of one hour.
void ClipKeeper::keep_uncertain(const std::string& source, const Window& window, std::span<const float> scores) {
    if (config_.uncertain_per_day == 0) return;
    const auto now = std::chrono::steady_clock::now();
    for (std::size_t label = 0; label < scores.size(); ++label) {
        if (scores[label] >= thresholds_[label]) continue;
        if (log_odds(scores[label]) < log_odds(thresholds_[label]) - kUncertain) continue;
        auto& next = next_uncertain_[window.model->bundle().labels[label].code];
        if (now < next) continue;
        const double mean = 86'400.0 / config_.uncertain_per_day;
        next = now +
               std::chrono::milliseconds(std::llround(std::uniform_real_distribution(0.5, 1.5)(random_) * mean * 1e3));
        keep(clip_of(ClipKind::kUncertain, source, window, label, scores[label]));
    }
}

// As raindrops fall: the time to the next doesn't depend on when the last was.
void ClipKeeper::keep_random(const std::string& source, const Window& window) {
    if (config_.random_per_day == 0) return;
    const auto now = std::chrono::steady_clock::now();
    const auto wait = [&] {
        std::exponential_distribution<double> seconds(config_.random_per_day / 86'400.0);
        return std::chrono::milliseconds(std::llround(seconds(random_) * 1e3));
    };
    auto& next = next_random_[{window.source, window.channel}];
    const bool is_first = next == MonotonicTime();
    if (now < next) return;
    next = now + wait();
    if (!is_first) keep(clip_of(ClipKind::kRandom, source, window, 0, 0));
}

ClipKeeper::Clip ClipKeeper::clip_of(const Event& event) const {
    Clip clip;
    clip.slot = event.slot;
    clip.source = event.source;
    clip.channel = event.channel;
    clip.sample_rate_hz = event.sample_rate_hz;
    clip.anchor = event.start_sample;
    clip.first = std::max(clip.anchor - samples(config_.before_seconds, clip.sample_rate_hz), std::int64_t{0});
    clip.end = event.start_sample + samples(config_.max_seconds, event.sample_rate_hz);
    clip.start = event.start;
    clip.model = event.model;
    clip.code = event.code;
    clip.score = event.peak_score;
    clip.event = event_id(event);
    name(clip);
    return clip;
}

ClipKeeper::Clip ClipKeeper::clip_of(ClipKind kind, const std::string& source, const Window& window, std::size_t label,
                                     float score) const {
    Clip clip;
    clip.kind = kind;
    clip.slot = window.source;
    clip.source = source;
    clip.channel = window.channel;
    clip.sample_rate_hz = window.sample_rate_hz;
    clip.anchor = window.start_sample;
    clip.first = window.start_sample;
    clip.end = window.end_sample;
    if (window.end_time)
        clip.start =
            *window.end_time + SampleClock::offset(window.start_sample - window.end_sample, window.sample_rate_hz);
    clip.model = window.model->id();
    if (kind == ClipKind::kUncertain) clip.code = window.model->bundle().labels[label].code;
    clip.score = score;
    name(clip);
    return clip;
}

// KIND/CODE/STATION_YYYYMMDD_HHMMSSZ_SOURCE_CHANNEL_SAMPLE: the date as recorders write it, of the clip's first sample
// as far as it is known; the sample keeps names of one second apart. Samples begin anew with each run: where no date
// tells the runs apart, a number taken by chance does.
void ClipKeeper::name(Clip& clip) const {
    std::string date = "undated-" + run_;
    if (clip.start) {
        const auto begin = *clip.start + SampleClock::offset(clip.first - clip.anchor, clip.sample_rate_hz);
        date = fmt::format("{:%Y%m%d_%H%M%S}Z", std::chrono::floor<std::chrono::seconds>(begin));
    }
    clip.path = fmt::format("{}/{}{}_{}_{}_{}_{}", to_string(clip.kind), clip.code.empty() ? "" : word(clip.code) + "/",
                            word(station_), date, word(clip.source), clip.channel, clip.anchor);
}

// Cuts it, now that all of it is there.
void ClipKeeper::keep(Clip clip) {
    std::shared_ptr<SoundMemory> memory;
    {
        const std::lock_guard lock(memories_mutex_);
        const auto found = memories_.find(clip.slot);
        if (found != memories_.end()) memory = found->second;
    }
    if (memory) clip.sound = memory->cut(clip.channel, clip.first, clip.anchor, clip.end);
    if (clip.sound.samples.empty()) return metrics_.count_clip_missed("gone");
    if (waiting_.push_drop_oldest(0, std::move(clip))) metrics_.count_clip_missed("busy");
}

void ClipKeeper::run() {
    while (!waiting_.drained()) {
        for (const auto& clip : waiting_.pop_batch(1, 0us, kLook)) {
            try {
                write(clip);
            } catch (const std::exception& error) {
                metrics_.count_clip_missed("disk");
                if (const auto line = complaints_.admit(std::chrono::steady_clock::now(), error.what()))
                    spdlog::error("clips: {}; detection goes on, clips are not kept", *line);
            }
        }
        if (const auto line = complaints_.overdue(std::chrono::steady_clock::now()))
            spdlog::error("clips: {}; detection goes on, clips are not kept", *line);
        metrics_.clips_bytes.Set(static_cast<double>(store_.bytes()));
    }
}

void ClipKeeper::write(const Clip& clip) {
    nlohmann::ordered_json json = {{"schema", "chorus.clip/1"},
                                   {"kind", to_string(clip.kind)},
                                   {"station", station_},
                                   {"source", clip.source},
                                   {"channel", clip.channel},
                                   {"start", nullptr},
                                   {"start_sample", clip.sound.first_sample},
                                   {"sample_rate_hz", clip.sound.sample_rate_hz},
                                   {"model", clip.model}};
    ClipTags tags{.title = clip.code,
                  .artist = fmt::format("{}, {}, channel {}", station_, clip.source, clip.channel),
                  .date = {},
                  .comment = {}};
    if (clip.start) {
        tags.date =
            to_iso8601(*clip.start + SampleClock::offset(clip.sound.first_sample - clip.anchor, clip.sample_rate_hz));
        json["start"] = tags.date;
    }
    if (!clip.code.empty()) {
        json["code"] = clip.code;
        json["score"] = std::round(static_cast<double>(clip.score) * 1e6) / 1e6;
    }
    if (!clip.event.empty()) json["event"] = clip.event;
    tags.comment = to_text(json);
    store_.write(clip.path, clip.sound, tags);
    metrics_.count_clip(to_string(clip.kind));
}

}  // namespace chorus
