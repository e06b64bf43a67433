#include "trainer/retrain.h"

#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "model/bundle.h"
#include "trainer/csv.h"
#include "trainer/durable_file.h"
#include "trainer/judging.h"
#include "trainer/label_import.h"
#include "trainer/model_folder.h"
#include "trainer/promotion_report.h"
#include "trainer/run_lock.h"
#include "trainer/text_file.h"
#include "trainer/trainer_metrics.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using Clock = std::chrono::steady_clock;

/// Below models/.
constexpr auto* kWorkFolder = "retraining";
constexpr auto* kCandidate = "retraining/candidate.safetensors";
constexpr auto* kEmbeddings = "retraining/embeddings.safetensors";
constexpr auto* kLabels = "retraining/labels.csv";             // of the training under way
constexpr auto* kKnownLabels = "retraining/known_labels.csv";  // of the last decision
constexpr auto* kCheckpoint = "retraining/candidate.safetensors.checkpoint";

struct LabelCount {
    int all = 0;
    int unknown = 0;  // that the last decision didn't know
};

/// Records of a label file but its first, the names of the columns, each with how often it occurs.
std::map<std::vector<std::string>, int> records_of(const std::string& text) {
    std::map<std::vector<std::string>, int> records;
    CsvReader csv(text);
    std::vector<std::string> fields;
    for (bool is_header = true; csv.next(fields); is_header = false)
        if (!is_header) ++records[fields];
    return records;
}

LabelCount count_labels(const std::string& labels, const std::string& known_labels) {
    auto known = records_of(known_labels);
    LabelCount count;
    for (const auto& [record, times] : records_of(labels)) {
        count.all += times;
        count.unknown += std::max(0, times - known[record]);
    }
    return count;
}

std::string text_if_there(const fs::path& path) {
    return fs::exists(path) ? read_text(path) : std::string();
}

/// Detection comes first: the GPU is chorusd's, unless one is asked for by name.
FitOptions beside_the_daemon(FitOptions fitting) {
    if (fitting.training.device == "auto") fitting.training.device = "cpu";
    return fitting;
}

class Run {
  public:
    Run(const RetrainOptions& options, const FitOptions& fitting, Progress& progress)
        : options_(options),
          fitting_(beside_the_daemon(fitting)),
          progress_(progress),
          models_(options.station / "models", options.on_step) {}

    json run() {
        if (!options_.noise.empty() && !fs::is_directory(options_.noise))
            throw std::runtime_error(fmt::format("{}: is no folder of noise", options_.noise.string()));
        models_.settle();
        begin_clean();
        const auto shadowed = promote_shadowed();
        take_labels();
        const auto labels = text_if_there(options_.station / "dataset/labels.csv");
        const auto count = count_labels(labels, text_if_there(path_of(kKnownLabels)));
        last_.new_labels = count.unknown;
        if (count.all == 0 || count.unknown < options_.min_new_labels)
            return shadowed.is_null() ? nothing_new(count) : shadowed;

        replace_file(path_of(kLabels), std::as_bytes(std::span(labels)));
        done();
        const auto fitted = train();
        done();
        const auto line = judge_and_decide(fitted, count);
        models_.remove_old(options_.keep_models);
        done();
        return line;
    }

    LastRun& last() { return last_; }

  private:
    fs::path path_of(std::string_view name) const { return models_.path() / name; }

    void done() const {
        if (options_.on_step) options_.on_step();
    }

    [[noreturn]] void fail_as_current_changed() const {
        throw std::runtime_error(fmt::format(
            "{}: was changed while its candidate was trained; the next run begins anew", path_of("current").string()));
    }

    /// What an interrupted run left goes, but for the checkpoint.
    void begin_clean() {
        fs::create_directories(path_of(kWorkFolder));
        for (const auto& entry : fs::directory_iterator(path_of(kWorkFolder))) {
            bool is_kept = false;
            for (const auto* name : {kEmbeddings, kKnownLabels, kCheckpoint})
                is_kept = is_kept || entry.path() == path_of(name);
            if (!is_kept) fs::remove(entry.path());
        }
        done();
    }

    /// What is rejected waits for a person, not the training for it. A station whose data set is made by hand has no
    /// inbox and no history; with a history, an import that was killed may have left labels.csv behind it.
    void take_labels() {
        const ImportFolders folders{.station = options_.station};
        const bool is_dropped = fs::is_directory(folders.inbox()) && !fs::is_empty(folders.inbox());
        if (!is_dropped && !fs::exists(folders.dataset() / "history.jsonl")) return;
        say_what_was_left(import_labels(folders, {.test_share = fitting_.data.test_share}));
        no_import_.emplace(folders.dataset() / "import.lock");
        done();
    }

    /// The line of the history, or null.
    json promote_shadowed() {
        const auto candidate = models_.shadowed();
        if (!candidate || candidate->hours < options_.shadow_hours) return nullptr;
        const auto bundle = read_bundle(candidate->bundle);
        const json line = {{"time", utc_now()},
                           {"outcome", to_string(RunOutcome::kPromoted)},
                           {"reasons", {fmt::format("it was in the shadow for {:.1f} h", candidate->hours)}},
                           {"candidate", bundle.id},
                           {"current", bundle.parent}};
        const ModelChange change{.renames = {},
                                 .history = line,
                                 .current = candidate->bundle.filename().string(),
                                 .candidate = "",
                                 .expected = bundle.parent};
        if (!models_.apply(change)) return nullptr;  // it is no child of the current model
        tell(RunOutcome::kPromoted, line);
        return line;
    }

    void tell(RunOutcome outcome, const json& line) {
        last_.outcome = outcome;
        fmt::print(stderr, "{} {}, trained from {}: {}\n", to_string(outcome), line["candidate"].get<std::string>(),
                   line["current"].get<std::string>(),
                   fmt::join(line["reasons"].get<std::vector<std::string>>(), "; "));
    }

    json nothing_new(const LabelCount& count) {
        last_.outcome = RunOutcome::kNothingNew;
        fmt::print(stderr, "nothing new enough: {} of {} labels are new, {} are asked for\n", count.unknown, count.all,
                   options_.min_new_labels);
        return {{"outcome", to_string(last_.outcome)}, {"labels", {{"all", count.all}, {"new", count.unknown}}}};
    }

    json train() {
        auto options = fitting_;
        const bool is_head = options_.scope == RetrainScope::kHead;
        options.dataset = options_.station / "dataset";
        options.data.layout = Layout::kCsv;
        options.init = models_.current();
        options.out = path_of(kCandidate);
        options.report.clear();
        options.resume = Resume::kIfItCanBe;
        options.training.freeze = is_head ? Freeze::kEmbeddings : Freeze::kNothing;
        if (is_head) options.embeddings = path_of(kEmbeddings);
        return fit(options, progress_);
    }

    /// The candidate as it lies on disk is what is judged.
    json judge_and_decide(const json& fitted, const LabelCount& count) {
        const auto current = read_bundle(models_.current());
        const auto candidate = read_bundle(path_of(kCandidate));
        if (candidate.parent != current.id) fail_as_current_changed();
        auto data = fitting_.data;
        data.layout = Layout::kCsv;
        const auto judgement = judge(current, candidate,
                                     {.dataset = options_.station / "dataset",
                                      .data = data,
                                      .noise = options_.noise,
                                      .earlier_labels = path_of(kKnownLabels),
                                      .gates = options_.gates,
                                      .threads = fitting_.training.threads},
                                     progress_);
        const auto decision = decide(judgement.comparison, options_.gates);
        auto line = describe(judgement.comparison);
        line["time"] = utc_now();
        const auto outcome = !decision.promote             ? RunOutcome::kRefused
                             : options_.shadow_hours > 0.0 ? RunOutcome::kShadowed
                                                           : RunOutcome::kPromoted;
        line["outcome"] = to_string(outcome);
        line["reasons"] = decision.reasons;
        line["candidate"] = candidate.id;
        line["current"] = current.id;
        line["scope"] = to_string(options_.scope);
        line["labels"] = {{"all", count.all}, {"new", count.unknown}};
        line["report"] = nullptr;
        carry_out(outcome, line, judgement, fitted);
        return line;
    }

    void carry_out(RunOutcome outcome, json& line, const Judgement& judgement, const json& fitted) {
        const auto id = line["candidate"].get<std::string>();
        if (!fitted.at("test").is_null()) {
            const auto page = fmt::format("reports/{}.html", id);
            line["report"] = page;
            fs::create_directories(path_of("reports"));
            write_promotion_report(path_of(page), line, judgement, fitted);
            done();
        }
        const auto bundle = id + ".safetensors";
        ModelChange change{.renames = {{kCandidate, bundle}, {kLabels, kKnownLabels}},
                           .history = line,
                           .current = {},
                           .candidate = {},
                           .expected = line["current"]};
        if (outcome == RunOutcome::kPromoted) {
            change.current = bundle;
            change.candidate = "";
        }
        if (outcome == RunOutcome::kShadowed) change.candidate = bundle;
        if (!models_.apply(change)) fail_as_current_changed();
        last_.current_macro_f1 = judgement.comparison.macro.current_f1;
        last_.candidate_macro_f1 = judgement.comparison.macro.candidate_f1;
        tell(outcome, line);
    }

    const RetrainOptions& options_;
    const FitOptions fitting_;
    Progress& progress_;
    ModelFolder models_;
    std::optional<RunLock> no_import_;  // labels are counted, trained on and judged by as they are now
    LastRun last_;
};

/// Metrics that can't be written are no reason to lose what was decided.
void tell_metrics(const fs::path& path, LastRun run, Clock::time_point began) {
    if (path.empty()) return;
    run.seconds = std::chrono::duration<double>(Clock::now() - began).count();
    run.ended = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    try {
        write_metrics(path, run);
    } catch (const std::exception& error) {
        fmt::print(stderr, "no metrics: {}\n", error.what());
    }
}

}  // namespace

std::string to_string(RetrainScope scope) {
    return scope == RetrainScope::kFull ? "full" : "head";
}

json retrain(const RetrainOptions& options, const FitOptions& fitting, Progress& progress) {
    const auto began = Clock::now();
    const RunLock lock(options.station / "retrain.lock");
    Run run(options, fitting, progress);
    try {
        auto line = run.run();
        tell_metrics(options.metrics, run.last(), began);
        return line;
    } catch (const Interrupted&) {
        run.last().outcome = RunOutcome::kStopped;
        tell_metrics(options.metrics, run.last(), began);
        throw;
    } catch (...) {
        run.last().outcome = RunOutcome::kFailed;
        tell_metrics(options.metrics, run.last(), began);
        throw;
    }
}

json roll_back(const RetrainOptions& options) {
    auto line = ModelFolder(options.station / "models", options.on_step).roll_back();
    fmt::print(stderr, "current is {} again, the parent of {}\n", line["current"].get<std::string>(),
               line["was"].get<std::string>());
    return line;
}

}  // namespace chorus
