#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <string>

#include "daemon/config.h"
#include "daemon/metrics.h"
#include "daemon/model_loader.h"
#include "daemon/pipeline.h"
#include "daemon/sinks.h"
#include "daemon/status.h"

namespace chorus {

/// Has the pipeline use the model that the configuration names, whatever bundle that is by now, and run the candidate
/// that it names in the model's shadow. A bundle that can't be loaded, or that the configuration doesn't go with,
/// leaves the model in use where it is. Where the configuration wants that, a model is on trial for some hours after it
/// was taken into use, and the one before is put back when it fails or opens too many events. Called by the thread that
/// started the pipeline.
class ModelSwitch {
  public:
    /// As open_model(), of so many classifiers.
    using Make =
        std::function<std::shared_ptr<const Model>(const std::filesystem::path&, Bundle, std::size_t classifiers)>;

    /// All outlive it. The sink is asked for a status message when something changes.
    ModelSwitch(const Config& config, Pipeline& pipeline, DetectionSink& sink, Metrics& metrics, const Make& make);

    /// Takes into use what has been loaded. Call a few times a second, once the pipeline has been started.
    void supervise(MonotonicTime now);
    /// Looks again, where the configuration says by now.
    void look();

    /// Any thread.
    ModelStatus status() const;

  private:
    void take_model(ModelFinding finding, MonotonicTime now);
    void judge_trial(MonotonicTime now);
    void take_candidate(ModelFinding finding);
    void refuse(const std::string& why);
    void set_fault(std::string fault);

    const Config& config_;
    Pipeline& pipeline_;
    DetectionSink& sink_;
    Metrics& metrics_;

    std::shared_ptr<const Model> before_;  // the one on trial; null: none is
    MonotonicTime trial_ends_{};

    mutable std::mutex mutex_;  // guards fault_
    std::string fault_;

    ModelLoader model_;
    ModelLoader candidate_;
};

}  // namespace chorus
