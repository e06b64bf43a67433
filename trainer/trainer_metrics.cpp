#include "trainer/trainer_metrics.h"

#include <fmt/format.h>

#include <span>
#include <string_view>

#include "trainer/durable_file.h"

namespace chorus {
namespace {

std::string head_of(std::string_view name, std::string_view help) {
    return fmt::format("# HELP {0} {1}\n# TYPE {0} gauge\n", name, help);
}

}  // namespace

std::string to_string(RunOutcome outcome) {
    switch (outcome) {
        case RunOutcome::kPromoted:
            return "promoted";
        case RunOutcome::kShadowed:
            return "shadowed";
        case RunOutcome::kRefused:
            return "refused";
        case RunOutcome::kNothingNew:
            return "nothing_new";
        case RunOutcome::kStopped:
            return "stopped";
        case RunOutcome::kFailed:
            break;
    }
    return "failed";
}

std::string metrics_text(const LastRun& run) {
    auto text = head_of("chorus_trainer_last_run_outcome", "1 for what the last retraining came to.");
    for (const auto outcome : {RunOutcome::kPromoted, RunOutcome::kShadowed, RunOutcome::kRefused,
                               RunOutcome::kNothingNew, RunOutcome::kStopped, RunOutcome::kFailed})
        text += fmt::format("chorus_trainer_last_run_outcome{{outcome=\"{}\"}} {}\n", to_string(outcome),
                            outcome == run.outcome ? 1 : 0);
    text += head_of("chorus_trainer_last_run_timestamp_seconds", "When the last retraining ended.");
    text += fmt::format("chorus_trainer_last_run_timestamp_seconds {}\n", run.ended);
    text += head_of("chorus_trainer_last_run_duration_seconds", "How long it took.");
    text += fmt::format("chorus_trainer_last_run_duration_seconds {:.3f}\n", run.seconds);
    text += head_of("chorus_trainer_last_run_new_labels", "Labels that no decision before it knew of.");
    text += fmt::format("chorus_trainer_last_run_new_labels {}\n", run.new_labels);
    if (!run.current_macro_f1 || !run.candidate_macro_f1) return text;
    text += head_of("chorus_trainer_last_run_macro_f1", "On the held-out recordings, of both models it compared.");
    text += fmt::format("chorus_trainer_last_run_macro_f1{{model=\"current\"}} {:.6f}\n", *run.current_macro_f1);
    text += fmt::format("chorus_trainer_last_run_macro_f1{{model=\"candidate\"}} {:.6f}\n", *run.candidate_macro_f1);
    return text;
}

void write_metrics(const std::filesystem::path& path, const LastRun& run) {
    const auto text = metrics_text(run);
    replace_file(path, std::as_bytes(std::span(text)));
}

}  // namespace chorus
