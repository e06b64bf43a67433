#pragma once
// Every metric of the daemon, in one place; README.md lists them for people. Any thread.

#include <prometheus/collectable.h>
#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "daemon/process_metrics.h"
#include "daemon/source_runner.h"

namespace chorus {

struct Bundle;

class Metrics {
  private:
    std::shared_ptr<prometheus::Registry> registry_;  // before the references into it

  public:
    explicit Metrics(const std::string& station);

    prometheus::Histogram& batch_windows;
    prometheus::Histogram& queue_seconds;    // a window's wait for the classifier
    prometheus::Histogram& compute_seconds;  // of a batch
    prometheus::Histogram& top_score;        // the highest score of each window
    prometheus::Histogram& sound_to_publish_seconds;
    prometheus::Counter& inference_errors;
    prometheus::Counter& gpu_faults;
    prometheus::Counter& messages_published;
    prometheus::Counter& messages_dropped;  // scores
    prometheus::Counter& events_grouped;
    prometheus::Counter& events_dropped;
    prometheus::Counter& journal_errors;
    prometheus::Gauge& journal_events;
    prometheus::Gauge& journal_bytes;
    prometheus::Gauge& journal_last_seq;
    prometheus::Gauge& journal_waiting;
    prometheus::Gauge& disk_free_bytes;
    prometheus::Counter& clients_refused;
    prometheus::Gauge& clips_bytes;
    prometheus::Counter& model_swaps;
    prometheus::Counter& model_load_failures;
    prometheus::Counter& model_rollbacks;
    prometheus::Histogram& shadow_compute_seconds;  // of a window

    void count_event(const std::string& source, int channel, const std::string& code, const std::string& phase);
    void count_rejected(const std::string& reason, double count);
    void count_replay(bool answered);
    void count_reload(bool applied);
    void count_clip(const std::string& kind);
    void count_clip_missed(const std::string& reason);
    void set_model(const Bundle& bundle);
    /// id: empty where none runs in the shadow.
    void set_shadow_model(const std::string& id);
    void count_shadow_window(const std::string& result);
    void count_shadow_event(const std::string& code, const std::string& found);

    /// Where the reports on sources come from at each scrape; an empty function forgets it.
    void watch_sources(std::function<std::vector<SourceReport>()> sources);

    /// Prometheus text format.
    std::string text() const;

  private:
    class SourceCollector;

    prometheus::Family<prometheus::Counter>& events_;
    prometheus::Family<prometheus::Counter>& rejected_;
    prometheus::Family<prometheus::Counter>& replays_;
    prometheus::Family<prometheus::Counter>& reloads_;
    prometheus::Family<prometheus::Counter>& clips_;
    prometheus::Family<prometheus::Counter>& clips_missed_;
    prometheus::Family<prometheus::Counter>& shadow_windows_;
    prometheus::Family<prometheus::Counter>& shadow_events_;
    prometheus::Family<prometheus::Gauge>& model_info_;
    prometheus::Family<prometheus::Gauge>& model_created_;
    prometheus::Family<prometheus::Gauge>& shadow_model_info_;
    std::mutex models_mutex_;  // guards what follows: gauges that are there, or null
    prometheus::Gauge* model_in_use_ = nullptr;
    prometheus::Gauge* model_made_ = nullptr;
    prometheus::Gauge* shadow_model_ = nullptr;
    std::shared_ptr<SourceCollector> source_collector_;
    const ProcessMetrics process_;
};

}  // namespace chorus
