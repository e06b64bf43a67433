#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <iostream>
#include <map>
#include <set>
#include <tuple>

#include "config/program.h"
#include "daemon/commands.h"
#include "daemon/event_writer.h"
#include "daemon/pipeline.h"
#include "daemon/reachability.h"
#include "streaming/audio_source.h"
#include "streaming/recorder_time.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

/// Keeps the closed events.
class Collector : public DetectionSink {
  public:
    void on_event(Event event) override {
        if (event.phase == EventPhase::kClose) events.push_back(std::move(event));
    }
    std::vector<Event> events;
};

// A file itself; a folder is searched, in the order of names, for what looks like sound.
std::vector<fs::path> find_recordings(const fs::path& given) {
    static const std::set<std::string> kEndings = {".wav",  ".flac", ".ogg",  ".opus", ".mp3", ".aif",
                                                   ".aiff", ".w64",  ".rf64", ".m4a",  ".wv"};
    std::error_code error;
    if (!fs::is_directory(given, error)) return {given};
    std::vector<fs::path> inside;
    fs::recursive_directory_iterator entries(given, fs::directory_options::skip_permission_denied, error);
    for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
        std::string ending = entries->path().extension().string();
        std::transform(ending.begin(), ending.end(), ending.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        std::error_code ignored;  // a link that leads nowhere is no recording
        if (kEndings.contains(ending) && entries->is_regular_file(ignored)) inside.push_back(entries->path());
    }
    if (error) throw std::runtime_error(fmt::format("{}: {}", given.string(), error.message()));
    if (inside.empty()) throw std::runtime_error(fmt::format("{}: no recordings in this folder", given.string()));
    std::sort(inside.begin(), inside.end());
    return inside;
}

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

/// One recording after another through the service's pipeline.
class RecordingAnalyser {
  public:
    explicit RecordingAnalyser(const DetectOptions& options)
        : bundle_(read_bundle(options.bundle)),
          front_end_(bundle_.front_end),
          classifier_(
              open_classifier(options.bundle, bundle_, {.device = options.device, .threads = options.threads})) {
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
            throw std::runtime_error(
                fmt::format("--hop {}: more than the model's window of {} s: sound would be skipped",
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

    /// Events in order of start, channel and code; throws with one line when the recording can't be analysed.
    std::vector<Event> analyse(const fs::path& path) {
        std::error_code error;
        if (fs::exists(path, error) && !fs::is_regular_file(path, error))
            throw std::runtime_error(path.string() + ": is not a regular file");
        SourceConfig source;
        source.name = source_name(path);
        source.launch = launch_for_file(path.string());
        source.is_file = true;
        const auto start = recording_start(path);
        if (!start.warning.empty()) std::cerr << fmt::format("chorusd: {}: {}\n", path.string(), start.warning);
        source.start = start.utc;
        config_.sources = {source};

        Collector collector;
        Metrics metrics(config_.station);
        Pipeline pipeline(config_, bundle_, front_end_, *classifier_, collector, metrics,
                          [name = path.string()](const SourceConfig& wanted) {
                              return open_gstreamer_source({.name = name, .launch = wanted.launch});
                          });
        pipeline.start();
        while (!pipeline.wait_finished(1h)) {
        }
        pipeline.rethrow_failure();
        const auto report = pipeline.sources().front();
        if (report.state == SourceState::kFailed) {
            const bool names_it = report.error.starts_with(path.string());
            throw std::runtime_error(names_it ? report.error : fmt::format("{}: {}", path.string(), report.error));
        }
        refuse_if_short(path, report);
        warn_of_rules_out_of_reach(path, report);

        name_recording(collector.events, path.string());
        std::sort(collector.events.begin(), collector.events.end(), [](const Event& a, const Event& b) {
            return std::tie(a.start_sample, a.channel, a.code) < std::tie(b.start_sample, b.channel, b.code);
        });
        return std::move(collector.events);
    }

    const FrontEndParameters& front_end() const { return bundle_.front_end; }

  private:
    void refuse_if_short(const fs::path& path, const SourceReport& report) const {
        for (const auto& channel : report.channels) {
            if (channel.samples.analysed > 0) continue;
            throw std::runtime_error(
                fmt::format("{}: {:.2f} s of sound is less than the model's window of {:g} s: not analysed",
                            path.string(), static_cast<double>(channel.samples.in) / std::max(report.sample_rate_hz, 1),
                            bundle_.front_end.window_seconds));
        }
    }

    // Said, as it would look like silence.
    void warn_of_rules_out_of_reach(const fs::path& path, const SourceReport& report) const {
        std::int64_t windows = 0;
        for (const auto& channel : report.channels) windows = std::max(windows, channel.level.windows);
        const auto classes = out_of_reach(min_windows_for(bundle_, config_.detection), windows);
        if (classes.empty()) return;
        std::vector<std::string> codes;
        for (const auto label : classes) codes.push_back(bundle_.labels[label].code);
        std::cerr << fmt::format(
            "chorusd: {}: its {} window(s) are fewer than an event needs of {}\n", path.string(), windows,
            codes.size() == bundle_.labels.size() ? "any class" : fmt::format("{}", fmt::join(codes, ", ")));
    }

    Config config_;
    Bundle bundle_;
    FrontEnd front_end_;
    std::unique_ptr<Classifier> classifier_;
};

}  // namespace

int detect_in_recordings(const DetectOptions& options) {
    set_up_logging("off");  // a recording's failure is said below, once
    RecordingAnalyser analyser(options);
    const auto writer =
        make_event_writer(options.format, std::cout, analyser.front_end().f_min_hz, analyser.front_end().f_max_hz,
                          {.prior = options.activity_prior > 0.0, .group = options.group_seconds > 0.0});
    int failed = 0;
    const auto attempt = [&](const auto& work) {
        try {
            work();
        } catch (const std::exception&) {
            ++failed;
            std::cerr << "chorusd: " << current_exception_message() << '\n';
        }
    };
    std::vector<fs::path> recordings;
    for (const auto& given : options.recordings) {
        attempt([&] {
            const auto found = find_recordings(given);
            recordings.insert(recordings.end(), found.begin(), found.end());
        });
    }
    for (const auto& path : recordings) {
        attempt([&] {
            for (const auto& event : analyser.analyse(path)) writer->write(event);
        });
        if (!std::cout.flush()) throw std::runtime_error("cannot write to standard output");
    }
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace chorus
