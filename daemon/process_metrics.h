#pragma once

#include <prometheus/collectable.h>

#include <optional>
#include <string>
#include <vector>

namespace chorus {

/// This process under Prometheus' standard names (process_resident_memory_bytes and so on), read from /proc/self at
/// each scrape; what can't be read is left out. Any thread.
class ProcessMetrics : public prometheus::Collectable {
  public:
    explicit ProcessMetrics(std::string station);

    std::vector<prometheus::MetricFamily> Collect() const override;

  private:
    const std::string station_;
    const std::optional<double> start_time_seconds_;  // said once: a clock that is set is no restart
};

}  // namespace chorus
