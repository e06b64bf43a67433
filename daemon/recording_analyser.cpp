#include "daemon/recording_analyser.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <thread>
#include <tuple>

#include "config/program.h"
#include "daemon/pipeline.h"
#include "daemon/reachability.h"
#include "streaming/audio_source.h"
#include "streaming/in_order.h"
#include "streaming/recorder_time.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr auto kLook = 200ms;             // between looks at how far a recording is
constexpr std::size_t kMostAtOnce = 8;    // recordings
constexpr std::size_t kMostAhead = 64;    // recordings that may be done before an earlier one is
constexpr std::size_t kThreadsEach = 16;  // enough for the last recording not to be alone on one of many processors

/// Keeps the closed events.
class Collector : public DetectionSink {
  public:
    void on_event(Event event) override {
        if (event.phase == EventPhase::kClose) events.push_back(std::move(event));
    }
    std::vector<Event> events;
};

// A topic-safe name for a file.
std::string source_name(const fs::path& path) {
    std::string name = path.stem().string().substr(0, 64);
    std::replace_if(
        name.begin(), name.end(), [](unsigned char c) { return !std::isalnum(c) && c != '_' && c != '-'; }, '_');
    return name.empty() ? "recording" : name;
}

// An event's id holds its recording's name, which the pipeline doesn't know.
void name_recording(std::vector<Event>& events, const std::string& file) {
    std::map<std::string, std::string> ids;
    for (auto& event : events) {
        auto& id = ids[event_id(event)];
        event.file = file;
        event.latency_ms.reset();
        id = event_id(event);
    }
    for (auto& event : events) {
        if (event.group) event.group = EventGroup{ids.at(event.group->id), ids.at(event.group->strongest)};
    }
}

double channel_seconds(const SourceReport& report) {
    double samples = 0;
    for (const auto& channel : report.channels) samples += static_cast<double>(channel.samples.analysed);
    return samples / std::max(report.sample_rate_hz, 1);
}

}  // namespace

RecordingAnalyser::RecordingAnalyser(const DetectOptions& options, std::shared_ptr<const Model> model)
    : model_(std::move(model)), bundle_(model_->bundle()) {
    config_.station = options.station;
    config_.hop_seconds = options.hop_seconds;
    config_.detection.min_windows = options.min_windows;
    config_.detection.min_windows_by_class = options.min_windows_by_class;
    config_.detection.merge_gap_seconds = options.merge_gap_seconds;
    config_.detection.hysteresis = options.hysteresis;
    config_.detection.threshold_scale = options.threshold_scale;
    config_.detection.group_seconds = options.group_seconds;
    config_.detection.activity_prior = options.activity_prior;
    config_.detection.longitude_deg = options.longitude_deg;
    config_.max_batch_delay = 0ms;
    if (options.hop_seconds > bundle_.front_end.window_seconds) {
        throw std::runtime_error(fmt::format("--hop {}: more than the model's window of {} s: sound would be skipped",
                                             options.hop_seconds, bundle_.front_end.window_seconds));
    }
    if (options.activity_prior > 0.0 && !bundle_.activity)
        throw std::runtime_error("--activity-prior: the model has no activity table");
    if (options.activity_prior > 0.0 && bundle_.activity->solar && !options.longitude_deg)
        throw std::runtime_error("--activity-prior: the model's table goes by solar time: --longitude is needed");
    for (const auto& [code, count] : options.min_windows_by_class) {
        if (!has_class(bundle_, code) || count < 1)
            throw std::runtime_error(fmt::format("--class-min-windows {} {}: {}", code, count,
                                                 count < 1 ? "must be 1 or more" : "the model has no such class"));
    }
}

void RecordingAnalyser::analyse(const std::vector<fs::path>& recordings, const Take& take, const Heard& heard) {
    std::atomic<bool> going_on{true};
    std::atomic<std::size_t> next{0};
    InOrder<RecordingOutcome> outcomes(kMostAhead, [&](RecordingOutcome outcome) {
        if (going_on && !take(std::move(outcome))) going_on = false;
    });
    const auto work = [&] {
        name_this_thread("recordings");
        for (auto i = next++; i < recordings.size(); i = next++) {
            outcomes.put(i, going_on ? analyse(recordings[i], heard) : RecordingOutcome());
        }
    };
    if (recordings.empty()) return;
    std::vector<std::jthread> threads;
    // One more than can be scored at once, so that the next is open by then.
    const auto at_once = std::min({model_->classifiers() + 1, kMostAtOnce, recordings.size()});
    const auto share = (model_->classifiers() + at_once - 1) / at_once;
    config_.threads = static_cast<int>(std::max(share, std::min(model_->classifiers(), kThreadsEach)));
    for (std::size_t i = 0; i < at_once; ++i) threads.emplace_back(work);
}

RecordingOutcome RecordingAnalyser::analyse(const fs::path& path, const Heard& heard) {
    RecordingOutcome outcome;
    try {
        analyse(path, heard, outcome);
    } catch (const std::exception&) {
        outcome.failure = current_exception_message();
    }
    return outcome;
}

// Throws with one line when the recording can't be analysed.
void RecordingAnalyser::analyse(const fs::path& path, const Heard& heard, RecordingOutcome& outcome) {
    std::error_code error;
    if (fs::exists(path, error) && !fs::is_regular_file(path, error))
        throw std::runtime_error(path.string() + ": is not a regular file");
    auto config = config_;
    SourceConfig source;
    source.name = source_name(path);
    source.launch = launch_for_file(path.string());
    source.is_file = true;
    const auto start = recording_start(path);
    if (!start.warning.empty()) outcome.notes.push_back(fmt::format("{}: {}", path.string(), start.warning));
    source.start = start.utc;
    config.sources = {source};

    Collector collector;
    Metrics metrics(config.station);
    Pipeline pipeline(config, model_, collector, metrics, [name = path.string()](const SourceConfig& wanted) {
        return open_gstreamer_source({.name = name, .launch = wanted.launch});
    });
    pipeline.start();
    double said = 0;
    bool finished = false;
    while (!finished) {
        finished = pipeline.wait_finished(kLook);
        const double now = channel_seconds(pipeline.sources().front());
        heard(now - said);
        said = now;
    }
    pipeline.rethrow_failure();
    const auto report = pipeline.sources().front();
    if (report.state == SourceState::kFailed) {
        const bool names_it = report.error.starts_with(path.string());
        throw std::runtime_error(names_it ? report.error : fmt::format("{}: {}", path.string(), report.error));
    }
    refuse_if_short(path, report);
    note_rules_out_of_reach(path, report, outcome);

    name_recording(collector.events, path.string());
    std::sort(collector.events.begin(), collector.events.end(), [](const Event& a, const Event& b) {
        return std::tie(a.start_sample, a.channel, a.code) < std::tie(b.start_sample, b.channel, b.code);
    });
    outcome.events = std::move(collector.events);
}

void RecordingAnalyser::refuse_if_short(const fs::path& path, const SourceReport& report) const {
    for (const auto& channel : report.channels) {
        if (channel.samples.analysed > 0) continue;
        throw std::runtime_error(
            fmt::format("{}: {:.2f} s of sound is less than the model's window of {:g} s: not analysed", path.string(),
                        static_cast<double>(channel.samples.in) / std::max(report.sample_rate_hz, 1),
                        bundle_.front_end.window_seconds));
    }
}

// Said, as it would look like silence.
void RecordingAnalyser::note_rules_out_of_reach(const fs::path& path, const SourceReport& report,
                                                RecordingOutcome& outcome) const {
    std::int64_t windows = 0;
    for (const auto& channel : report.channels) windows = std::max(windows, channel.level.windows);
    const auto classes = out_of_reach(min_windows_for(bundle_, config_.detection), windows);
    if (classes.empty()) return;
    std::vector<std::string> codes;
    for (const auto label : classes) codes.push_back(bundle_.labels[label].code);
    outcome.notes.push_back(
        fmt::format("{}: its {} window(s) are fewer than an event needs of {}", path.string(), windows,
                    codes.size() == bundle_.labels.size() ? "any class" : fmt::format("{}", fmt::join(codes, ", "))));
}

}  // namespace chorus
