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

    void count_event(const std::string& source, int channel, const std::string& code, const std::string& phase);
    void count_rejected(const std::string& reason, double count);
    void count_replay(bool answered);
    void count_reload(bool applied);
    void count_clip(const std::string& kind);
    void count_clip_missed(const std::string& reason);
    void set_model(const Bundle& bundle);

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
    prometheus::Family<prometheus::Gauge>& model_info_;
    prometheus::Family<prometheus::Gauge>& model_created_;
    std::shared_ptr<SourceCollector> source_collector_;
    const ProcessMetrics process_;
};

}  // namespace chorus
