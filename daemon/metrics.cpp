#include "daemon/metrics.h"

#include <fmt/format.h>
#include <prometheus/text_serializer.h>

#include <map>

#include "daemon/time_format.h"
#include "model/bundle.h"

namespace chorus {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;
using Buckets = prometheus::Histogram::BucketBoundaries;

const Buckets kSecondsBuckets = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06,
                                 0.1,    0.25,  0.5,    1,     2.5,  5,    10,   60};

prometheus::Histogram& histogram(prometheus::Registry& registry, const std::string& station, const std::string& name,
                                 const std::string& help, const Buckets& buckets) {
    return prometheus::BuildHistogram()
        .Name(name)
        .Help(help)
        .Labels({{"station", station}})
        .Register(registry)
        .Add({}, buckets);
}

prometheus::Family<prometheus::Counter>& counters(prometheus::Registry& registry, const std::string& station,
                                                  const std::string& name, const std::string& help) {
    return prometheus::BuildCounter().Name(name).Help(help).Labels({{"station", station}}).Register(registry);
}

prometheus::Family<prometheus::Gauge>& gauges(prometheus::Registry& registry, const std::string& station,
                                              const std::string& name, const std::string& help) {
    return prometheus::BuildGauge().Name(name).Help(help).Labels({{"station", station}}).Register(registry);
}

prometheus::Counter& counter(prometheus::Registry& registry, const std::string& station, const std::string& name,
                             const std::string& help) {
    return counters(registry, station, name, help).Add({});
}

prometheus::Gauge& gauge(prometheus::Registry& registry, const std::string& station, const std::string& name,
                         const std::string& help) {
    return gauges(registry, station, name, help).Add({});
}

MetricFamily family(const std::string& name, const std::string& help, MetricType type) {
    MetricFamily made;
    made.name = name;
    made.help = help;
    made.type = type;
    return made;
}

void remove(prometheus::Family<prometheus::Gauge>& family, prometheus::Gauge*& gauge) {
    if (gauge != nullptr) family.Remove(gauge);
    gauge = nullptr;
}

// The one gauge of its family, under other labels.
void replace(prometheus::Family<prometheus::Gauge>& family, prometheus::Gauge*& gauge,
             const std::map<std::string, std::string>& labels, double value) {
    remove(family, gauge);
    gauge = &family.Add(labels);
    gauge->Set(value);
}

void add(MetricFamily& to, Labels labels, double value) {
    ClientMetric metric;
    metric.label = std::move(labels);
    metric.counter.value = value;
    metric.gauge.value = value;
    to.metric.push_back(std::move(metric));
}

}  // namespace

/// Sources report themselves as one consistent moment a source, so that the books balance at every scrape.
class Metrics::SourceCollector : public prometheus::Collectable {
  public:
    explicit SourceCollector(std::string station) : station_(std::move(station)) {}

    void watch(std::function<std::vector<SourceReport>()> sources) {
        const std::lock_guard lock(mutex_);
        sources_ = std::move(sources);
    }

    std::vector<MetricFamily> Collect() const override {
        const std::lock_guard lock(mutex_);
        if (!sources_) return {};
        const auto reports = sources_();
        auto up = family("chorus_source_up", "1 while sound comes in", MetricType::Gauge);
        auto reconnects =
            family("chorus_source_reconnects_total", "Times the source was opened again", MetricType::Counter);
        auto gaps = family("chorus_gaps_total", "Interruptions of the sound", MetricType::Counter);
        auto gap_seconds = family("chorus_gap_seconds_total", "Sound lost in gaps", MetricType::Counter);
        auto hop = family("chorus_hop_seconds", "Time between windows; wider under overload", MetricType::Gauge);
        auto wanted_hop = family("chorus_wanted_hop_seconds", "Time between windows as configured", MetricType::Gauge);
        auto synced =
            family("chorus_clock_synced", "1 while the kernel holds the clock to be synchronised", MetricType::Gauge);
        auto drift =
            family("chorus_clock_drift_ppm", "By how much the source's sample clock runs fast", MetricType::Gauge);
        auto steps = family("chorus_clock_steps_total", "Times a clock was set under the source", MetricType::Counter);
        auto state = family("chorus_source_state", "1 for the state the source is in", MetricType::Gauge);
        auto fault = family("chorus_channel_fault", "1 while the channel has the fault", MetricType::Gauge);
        auto in = family("chorus_samples_in_total", "Samples that came in", MetricType::Counter);
        auto analysed =
            family("chorus_samples_analysed_total", "Samples whose first window was scored", MetricType::Counter);
        auto dropped =
            family("chorus_samples_dropped_total", "Samples whose first window was not scored", MetricType::Counter);
        auto pending = family("chorus_samples_pending", "Samples that wait", MetricType::Gauge);
        auto windows = family("chorus_windows_total", "Windows scored", MetricType::Counter);
        auto level = family("chorus_level_dbfs", "Level of the last block, RMS", MetricType::Gauge);
        auto clipped = family("chorus_clipped_samples_total", "Samples at full scale", MetricType::Counter);
        for (const auto& source : reports) {
            const Labels labels = {{"station", station_}, {"source", source.name}};
            add(up, labels, gives_sound(source.state) ? 1 : 0);
            for (const auto each_state : kSourceStates) {
                Labels with_state = labels;
                with_state.push_back({"state", to_string(each_state)});
                add(state, with_state, source.state == each_state ? 1 : 0);
            }
            add(reconnects, labels, static_cast<double>(source.reconnects));
            add(gaps, labels, static_cast<double>(source.gaps));
            add(gap_seconds, labels, source.gap_seconds);
            if (source.hop_seconds > 0) add(hop, labels, source.hop_seconds);
            add(wanted_hop, labels, source.wanted_hop_seconds);
            add(synced, labels, source.clock_synced ? 1 : 0);
            add(steps, labels, static_cast<double>(source.clock_steps));
            if (source.clock_drift_ppm) add(drift, labels, *source.clock_drift_ppm);
            for (std::size_t channel = 0; channel < source.channels.size(); ++channel) {
                const auto& [samples, sound, faults] = source.channels[channel];
                Labels each = labels;
                each.push_back({"channel", std::to_string(channel)});
                add(in, each, static_cast<double>(samples.in));
                add(analysed, each, static_cast<double>(samples.analysed));
                add(pending, each, static_cast<double>(samples.pending));
                add(windows, each, static_cast<double>(sound.windows));
                add(level, each, sound.rms_dbfs);
                add(clipped, each, static_cast<double>(sound.clipped_samples));
                for (const auto each_fault : kChannelFaults) {
                    Labels with_fault = each;
                    with_fault.push_back({"fault", to_string(each_fault)});
                    add(fault, with_fault, has(faults, each_fault) ? 1 : 0);
                }
                for (const auto reason : kDropReasons) {
                    Labels with_reason = each;
                    with_reason.push_back({"reason", to_string(reason)});
                    add(dropped, with_reason, static_cast<double>(samples.dropped[static_cast<std::size_t>(reason)]));
                }
            }
        }
        std::vector<MetricFamily> families = {up,         state,   reconnects, gaps,    gap_seconds, hop,
                                              wanted_hop, synced,  drift,      steps,   fault,       in,
                                              analysed,   dropped, pending,    windows, level,       clipped};
        // A family without a value isn't told at all.
        std::erase_if(families, [](const auto& each) { return each.metric.empty(); });
        return families;
    }

  private:
    const std::string station_;
    mutable std::mutex mutex_;
    std::function<std::vector<SourceReport>()> sources_;
};

Metrics::Metrics(const std::string& station)
    : registry_(std::make_shared<prometheus::Registry>()),
      batch_windows(histogram(*registry_, station, "chorus_batch_windows", "Windows scored at once",
                              {1, 2, 4, 8, 16, 32, 64, 128})),
      queue_seconds(histogram(*registry_, station, "chorus_queue_seconds", "A window's wait for the classifier",
                              kSecondsBuckets)),
      compute_seconds(
          histogram(*registry_, station, "chorus_compute_seconds", "Scoring of one batch", kSecondsBuckets)),
      top_score(histogram(*registry_, station, "chorus_top_score", "The highest score of each window",
                          {0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99})),
      sound_to_publish_seconds(histogram(
          *registry_, station, "chorus_sound_to_publish_seconds",
          "From the arrival of a window's last sample to its event's being handed to ZeroMQ", kSecondsBuckets)),
      inference_errors(
          counter(*registry_, station, "chorus_inference_errors_total", "Batches the classifier failed on")),
      gpu_faults(counter(*registry_, station, "chorus_gpu_faults_total", "Times the GPU was short of memory or lost")),
      messages_published(counter(*registry_, station, "chorus_messages_published_total", "Messages handed to ZeroMQ")),
      messages_dropped(counter(*registry_, station, "chorus_messages_dropped_total",
                               "Messages dropped because the feed fell behind")),
      events_grouped(counter(*registry_, station, "chorus_events_grouped_total",
                             "Events that opened in the group of another channel's")),
      events_dropped(counter(*registry_, station, "chorus_events_dropped_total",
                             "Events dropped because the journal could not be written for too long")),
      journal_errors(
          counter(*registry_, station, "chorus_journal_errors_total", "Failed attempts to write the journal")),
      journal_events(gauge(*registry_, station, "chorus_journal_events", "Messages of events the journal holds")),
      journal_bytes(gauge(*registry_, station, "chorus_journal_bytes", "Bytes the journal uses")),
      journal_last_seq(gauge(*registry_, station, "chorus_journal_last_seq", "The last sequence number given out")),
      journal_waiting(gauge(*registry_, station, "chorus_journal_waiting", "Events that wait for the journal")),
      disk_free_bytes(gauge(*registry_, station, "chorus_disk_free_bytes", "Free space where the journal is")),
      clients_refused(counter(*registry_, station, "chorus_clients_refused_total",
                              "ZeroMQ clients whose key is not on the allow-list")),
      clips_bytes(gauge(*registry_, station, "chorus_clips_bytes", "Bytes of the clips that are kept")),
      model_swaps(counter(*registry_, station, "chorus_model_swaps_total", "Times another model was taken into use")),
      model_load_failures(counter(*registry_, station, "chorus_model_load_failures_total",
                                  "Models that were not taken into use because they could not be")),
      model_rollbacks(counter(*registry_, station, "chorus_model_rollbacks_total",
                              "Times a model was put back because the one after it did badly")),
      shadow_compute_seconds(histogram(*registry_, station, "chorus_shadow_compute_seconds",
                                       "Scoring of one window by the candidate", kSecondsBuckets)),
      events_(counters(*registry_, station, "chorus_events_total", "Event messages by class and phase")),
      rejected_(counters(*registry_, station, "chorus_candidates_rejected_total", "Runs of hits that made no event")),
      replays_(counters(*registry_, station, "chorus_replay_requests_total", "Requests for missed events")),
      reloads_(counters(*registry_, station, "chorus_config_reloads_total", "Reloads of the configuration")),
      clips_(counters(*registry_, station, "chorus_clips_total", "Clips written")),
      clips_missed_(counters(*registry_, station, "chorus_clips_missed_total", "Clips that could not be kept")),
      shadow_windows_(
          counters(*registry_, station, "chorus_shadow_windows_total", "Windows by what the candidate made of them")),
      shadow_events_(counters(*registry_, station, "chorus_shadow_events_total",
                              "Events by which of the live model and the candidate would have sent them")),
      model_info_(gauges(*registry_, station, "chorus_model_info", "The model in use")),
      model_created_(
          gauges(*registry_, station, "chorus_model_created_timestamp_seconds", "When the model in use was made")),
      shadow_model_info_(
          gauges(*registry_, station, "chorus_shadow_model_info", "The candidate that runs in the model's shadow")),
      source_collector_(std::make_shared<SourceCollector>(station)),
      process_(station) {
    gauges(*registry_, station, "chorus_build_info", "The daemon's version").Add({{"version", CHORUS_VERSION}}).Set(1);
    // There from the start, so that a first increment shows as one.
    rejected_.Add({{"reason", "min_windows"}});
    for (const char* result : {"ok", "bad"}) replays_.Add({{"result", result}});
    for (const char* result : {"applied", "refused"}) reloads_.Add({{"result", result}});
    for (const char* kind : {"event", "uncertain", "random"}) clips_.Add({{"kind", kind}});
    for (const char* reason : {"gone", "busy", "disk"}) clips_missed_.Add({{"reason", reason}});
    for (const char* result : {"agreed", "differed", "skipped", "failed"}) shadow_windows_.Add({{"result", result}});
}

void Metrics::count_event(const std::string& source, int channel, const std::string& code, const std::string& phase) {
    events_.Add({{"source", source}, {"channel", std::to_string(channel)}, {"code", code}, {"phase", phase}})
        .Increment();
}

void Metrics::count_rejected(const std::string& reason, double count) {
    rejected_.Add({{"reason", reason}}).Increment(count);
}

void Metrics::count_replay(bool answered) {
    replays_.Add({{"result", answered ? "ok" : "bad"}}).Increment();
}

void Metrics::count_reload(bool applied) {
    reloads_.Add({{"result", applied ? "applied" : "refused"}}).Increment();
}

void Metrics::count_clip(const std::string& kind) {
    clips_.Add({{"kind", kind}}).Increment();
}

void Metrics::count_clip_missed(const std::string& reason) {
    clips_missed_.Add({{"reason", reason}}).Increment();
}

void Metrics::set_model(const Bundle& bundle) {
    const std::lock_guard lock(models_mutex_);
    replace(model_info_, model_in_use_, {{"model", bundle.id}, {"architecture", to_string(bundle.architecture)}}, 1);
    const auto created = from_iso8601(bundle.created);
    const double seconds = created ? static_cast<double>(created->time_since_epoch().count()) / 1e6 : 0.0;
    if (created) {
        replace(model_created_, model_made_, {}, seconds);
    } else {
        remove(model_created_, model_made_);
    }
}

void Metrics::set_shadow_model(const std::string& id) {
    const std::lock_guard lock(models_mutex_);
    if (id.empty()) {
        remove(shadow_model_info_, shadow_model_);
    } else {
        replace(shadow_model_info_, shadow_model_, {{"model", id}}, 1);
    }
}

void Metrics::count_shadow_window(const std::string& result) {
    shadow_windows_.Add({{"result", result}}).Increment();
}

void Metrics::count_shadow_event(const std::string& code, const std::string& found) {
    shadow_events_.Add({{"code", code}, {"found", found}}).Increment();
}

void Metrics::watch_sources(std::function<std::vector<SourceReport>()> sources) {
    source_collector_->watch(std::move(sources));
}

std::string Metrics::text() const {
    auto families = registry_->Collect();
    for (auto& more : {source_collector_->Collect(), process_.Collect()}) {
        families.insert(families.end(), more.begin(), more.end());
    }
    return prometheus::TextSerializer().Serialize(families);
}

}  // namespace chorus
