#pragma once
// The trainer's last run for Prometheus, as a file for node exporter's textfile collector.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

namespace chorus {

enum class RunOutcome { kPromoted, kShadowed, kRefused, kNothingNew, kStopped, kFailed };

std::string to_string(RunOutcome outcome);  // "promoted", "shadowed", "refused", "nothing_new", "stopped", "failed"

struct LastRun {
    RunOutcome outcome = RunOutcome::kFailed;
    double seconds = 0.0;
    std::int64_t ended = 0;  // seconds since 1970, UTC
    std::int64_t new_labels = 0;
    std::optional<double> current_macro_f1 = {};  // on the held-out recordings, where there was a decision
    std::optional<double> candidate_macro_f1 = {};
};

/// Metrics chorus_trainer_last_run_*, in Prometheus' text format.
std::string metrics_text(const LastRun& run);

/// Beside `path`, and renamed over it. Throws std::runtime_error with one line that begins with the path.
void write_metrics(const std::filesystem::path& path, const LastRun& run);

}  // namespace chorus
