#include "daemon/process_metrics.h"

#include <prometheus/client_metric.h>
#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <sstream>

namespace chorus {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;

double seconds(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) / 1e9;
}

struct ProcessStatus {
    double cpu_seconds = 0;
    double threads = 0;
    double start_ticks = 0;  // since boot
    double virtual_bytes = 0;
    double resident_bytes = 0;
};

// Fields of /proc/self/stat by their numbers in proc(5).
std::optional<ProcessStatus> read_status() {
    std::ifstream file("/proc/self/stat");
    std::string line;
    if (!std::getline(file, line)) return std::nullopt;
    // Field 2 is the program's name in brackets and may hold anything, brackets and spaces included.
    std::istringstream rest(line.substr(line.rfind(')') + 1));
    std::string ignored;
    for (int field = 3; field < 14; ++field) rest >> ignored;
    double user_ticks = 0;
    double system_ticks = 0;
    rest >> user_ticks >> system_ticks;  // 14, 15
    for (int field = 16; field < 20; ++field) rest >> ignored;
    ProcessStatus status;
    double resident_pages = 0;
    rest >> status.threads >> ignored >> status.start_ticks >> status.virtual_bytes >> resident_pages;  // 20 to 24
    if (!rest) return std::nullopt;
    const auto ticks_per_second = static_cast<double>(sysconf(_SC_CLK_TCK));
    status.cpu_seconds = (user_ticks + system_ticks) / ticks_per_second;
    status.resident_bytes = resident_pages * static_cast<double>(sysconf(_SC_PAGESIZE));
    return status;
}

std::optional<double> read_start_time() {
    const auto status = read_status();
    if (!status) return std::nullopt;
    const double age = seconds(CLOCK_BOOTTIME) - status->start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK));
    return seconds(CLOCK_REALTIME) - age;
}

std::optional<double> count_open_descriptors() {
    std::error_code error;
    std::filesystem::directory_iterator entry("/proc/self/fd", error);
    if (error) return std::nullopt;
    double count = -1;  // the one that reads the folder
    for (; entry != std::filesystem::directory_iterator(); entry.increment(error)) {
        if (error) return std::nullopt;
        ++count;
    }
    return count;
}

}  // namespace

ProcessMetrics::ProcessMetrics(std::string station)
    : station_(std::move(station)), start_time_seconds_(read_start_time()) {}

std::vector<MetricFamily> ProcessMetrics::Collect() const {
    std::vector<MetricFamily> families;
    const auto add = [&](const char* name, const char* help, MetricType type, double value) {
        ClientMetric metric;
        metric.label = {{"station", station_}};
        metric.counter.value = value;
        metric.gauge.value = value;
        families.push_back({name, help, type, {metric}});
    };
    if (const auto status = read_status()) {
        add("process_cpu_seconds_total", "Time on the CPUs", MetricType::Counter, status->cpu_seconds);
        add("process_threads", "Threads", MetricType::Gauge, status->threads);
        add("process_virtual_memory_bytes", "Address space", MetricType::Gauge, status->virtual_bytes);
        add("process_resident_memory_bytes", "Memory held", MetricType::Gauge, status->resident_bytes);
    }
    if (start_time_seconds_) {
        add("process_start_time_seconds", "When the process began, since 1970", MetricType::Gauge,
            *start_time_seconds_);
    }
    if (const auto open = count_open_descriptors()) {
        add("process_open_fds", "Open file descriptors", MetricType::Gauge, *open);
    }
    rlimit limit{};
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        add("process_max_fds", "File descriptors allowed", MetricType::Gauge, static_cast<double>(limit.rlim_cur));
    }
    return families;
}

}  // namespace chorus
