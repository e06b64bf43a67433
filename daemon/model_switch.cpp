#include "daemon/model_switch.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "config/config_reader.h"

namespace chorus {

ModelSwitch::ModelSwitch(const Config& config, Pipeline& pipeline, DetectionSink& sink, Metrics& metrics,
                         const Make& make)
    : config_(config),
      pipeline_(pipeline),
      sink_(sink),
      metrics_(metrics),
      model_("model", config.bundle, pipeline.model()->id(),
             [make, threads = pipeline.analysis_threads()](const std::filesystem::path& path, Bundle bundle) {
                 return make(path, std::move(bundle), threads);
             }),
      // The shadow has one thread, and rests while the model needs it.
      candidate_("candidate", config.candidate(), "", [make](const std::filesystem::path& path, Bundle bundle) {
          return make(path, std::move(bundle), 1);
      }) {}

void ModelSwitch::supervise(MonotonicTime now) {
    if (before_) judge_trial(now);
    for (auto& finding : model_.take()) take_model(std::move(finding), now);
    for (auto& finding : candidate_.take()) take_candidate(std::move(finding));
}

void ModelSwitch::look() {
    model_.look(config_.bundle, pipeline_.model()->id());
    const auto candidate = pipeline_.candidate();
    candidate_.look(config_.candidate(), candidate ? candidate->id() : "");
}

ModelStatus ModelSwitch::status() const {
    const auto candidate = pipeline_.candidate();
    const std::lock_guard lock(mutex_);
    return {.id = pipeline_.model()->id(), .shadow = candidate ? candidate->id() : "", .fault = fault_};
}

void ModelSwitch::take_model(ModelFinding finding, MonotonicTime now) {
    const auto before = pipeline_.model();
    const auto& old = before->id();
    switch (finding.kind) {
        case ModelFinding::Kind::kAbsent:
            return refuse(fmt::format("{}: is not there", config_.bundle.string()));
        case ModelFinding::Kind::kFailed:
            return refuse(finding.failure);
        case ModelFinding::Kind::kKnown:
        case ModelFinding::Kind::kLoaded:
            break;
    }
    if (finding.id == old) return set_fault("");
    if (!finding.model) return;  // one that was refused or taken back before: the fault stays
    try {
        for (const auto& warning : check_model(config_, finding.model->bundle())) spdlog::warn("{}", warning);
    } catch (const ConfigError& error) {
        std::vector<std::string> faults;
        for (const auto& fault : error.faults()) faults.push_back(to_string(fault));
        return refuse(fmt::format("{}: model {} does not go with the configuration: {}", config_.bundle.string(),
                                  finding.id, fmt::join(faults, "; ")));
    }
    spdlog::info("model: {} ({} classes) on {} takes the place of {}", finding.id, finding.model->classes(),
                 finding.model->description(), old);
    const bool on_trial = config_.rollback_hours > 0;
    // Before the swap, as its first window may fail.
    pipeline_.put_on_trial(on_trial ? finding.model : nullptr);
    before_ = on_trial ? before : nullptr;
    trial_ends_ = now + std::chrono::duration_cast<MonotonicTime::duration>(
                            std::chrono::duration<double>(config_.rollback_hours * 3600));
    pipeline_.swap(std::move(finding.model));
    set_fault("");
}

// Its windows that still wait are forgiven as well: it stays on trial until another is.
void ModelSwitch::judge_trial(MonotonicTime now) {
    const auto trial = pipeline_.trial();
    auto why = trial.failure;
    const double most = config_.rollback_events_an_hour;
    // What an hour may hold is not held against the first minutes.
    if (why.empty() && most > 0 && static_cast<double>(trial.events) > most * std::max(trial.hours, 1.0))
        why = fmt::format("it opened {} events in {:.2f} hours of sound", trial.events, trial.hours);
    if (why.empty() && now < trial_ends_) return;
    const auto before = std::exchange(before_, nullptr);
    if (why.empty()) return pipeline_.put_on_trial(nullptr);
    const auto fault = fmt::format("model {} is taken back: {}", pipeline_.model()->id(), why);
    spdlog::error("{}; model {} is in use again", fault, before->id());
    metrics_.model_rollbacks.Increment();
    pipeline_.swap(before);
    set_fault(fault);
}

void ModelSwitch::refuse(const std::string& why) {
    metrics_.model_load_failures.Increment();
    spdlog::error("{}; model {} stays in use", why, pipeline_.model()->id());
    set_fault(why);
}

void ModelSwitch::set_fault(std::string fault) {
    {
        const std::lock_guard lock(mutex_);
        if (fault == fault_) return;
        fault_ = std::move(fault);
    }
    sink_.status_soon();
}

void ModelSwitch::take_candidate(ModelFinding finding) {
    if (finding.kind == ModelFinding::Kind::kKnown) return;
    const auto old = pipeline_.candidate();
    auto why = finding.failure;
    if (finding.model && finding.id != pipeline_.model()->id()) {
        try {
            pipeline_.shadow(std::move(finding.model));
            spdlog::info("shadow: candidate {} runs beside model {}", finding.id, pipeline_.model()->id());
            return sink_.status_soon();
        } catch (const std::runtime_error& error) {
            why = error.what();
        }
    }
    if (!why.empty()) spdlog::error("shadow: {}", why);
    if (!old) return;
    pipeline_.shadow(nullptr);
    spdlog::info("shadow: candidate {} is run no more", old->id());
    sink_.status_soon();
}

}  // namespace chorus
