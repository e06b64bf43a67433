#include "daemon/model_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "daemon/event_maker.h"
#include "daemon/reachability.h"
#include "streaming/duration.h"

namespace chorus {
namespace {

// Windows that the longest source gives; empty where one may go on for ever or can't be told.
std::optional<std::int64_t> most_windows(ConfigSection root, const Config& config, const Bundle& bundle) {
    std::optional<std::int64_t> most;
    auto sections = root.sections("source");
    for (std::size_t i = 0; i < config.sources.size(); ++i) {
        if (!config.sources[i].is_file) return std::nullopt;
        const auto seconds = recording_seconds(sections[i].text("file", ""));
        if (!seconds) return std::nullopt;
        most = std::max(most.value_or(0), windows_in(*seconds, bundle.front_end, config.hop_seconds));
    }
    return most;
}

// A rule that could never be met would reject everything without a word.
void check_reachability(ConfigSection root, const Config& config, const Bundle& bundle) {
    auto detection = root.section("detection");
    const auto thresholds = thresholds_for(bundle, config.detection);
    if (std::all_of(thresholds.begin(), thresholds.end(), [](float threshold) { return threshold >= 1.0F; })) {
        detection.fault(detection.has("threshold_scale") ? "threshold_scale" : "thresholds",
                        "every class's threshold is 1, which no score exceeds: nothing could be detected");
    }
    const auto windows = most_windows(root, config, bundle);
    if (!windows) return;
    std::set<std::string> said;  // by class code, empty for what holds for all others
    const auto min_windows = min_windows_for(bundle, config.detection);
    for (const auto label : out_of_reach(min_windows, *windows)) {
        const auto& code = bundle.labels[label].code;
        const bool own = config.detection.min_windows_by_class.contains(code);
        if (!said.insert(own ? code : "").second) continue;
        auto where = own ? detection.section("min_windows_by_class") : detection;
        where.fault(own ? code : "min_windows",
                    fmt::format("{} windows are asked for, the longest recording gives {}: nothing could be detected",
                                min_windows[label], *windows));
    }
}

void check_activity_prior(ConfigSection root, const Config& config, const Bundle& bundle) {
    if (config.detection.activity_prior <= 0.0) return;
    auto detection = root.section("detection");
    if (!bundle.activity) {
        detection.fault("activity_prior",
                        "the model has no activity table: too few recordings it learned from are dated");
    } else if (bundle.activity->solar && !config.position) {
        detection.fault("activity_prior", "the model's activity table goes by solar time: station.longitude is needed");
    }
}

// No fault: a daemon must go back to an older model whatever its newer one's classes were.
template <typename Value>
void warn_of_unknown_classes(ConfigSection section, const std::map<std::string, Value>& by_class,
                             const Bundle& bundle) {
    for (const auto& [code, value] : by_class) {
        if (!has_class(bundle, code)) section.warn(code, "the model has no such class: it is of no effect");
    }
}

}  // namespace

void check_against_model(ConfigSection root, const Config& config, const Bundle& bundle) {
    if (config.hop_seconds > bundle.front_end.window_seconds) {
        root.section("analysis")
            .fault("hop_seconds", fmt::format("{} is more than the model's window of {} s: sound would be skipped",
                                              config.hop_seconds, bundle.front_end.window_seconds));
    }
    auto detection = root.section("detection");
    warn_of_unknown_classes(detection.section("thresholds"), config.detection.thresholds, bundle);
    warn_of_unknown_classes(detection.section("min_windows_by_class"), config.detection.min_windows_by_class, bundle);
    check_reachability(root, config, bundle);
    check_activity_prior(root, config, bundle);
}

}  // namespace chorus
