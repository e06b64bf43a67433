#include "trainer/rendezvous.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace chorus {
namespace {

constexpr int kMostProcesses = 65'536;
constexpr std::int64_t kMostSteps = std::numeric_limits<std::uint32_t>::max();  // as Slurm counts jobs and their steps

/// Variables, and which of several names one has.
class Environment {
  public:
    explicit Environment(const EnvironmentVariable& variable) : variable_(variable) {}

    /// An empty value is none.
    std::string_view text(const char* name) const {
        const auto* value = variable_(name);
        return value == nullptr ? std::string_view() : std::string_view(value);
    }

    /// The first of these names that is set; the last where none is.
    const char* first(std::initializer_list<const char*> names) const {
        for (const auto* name : names)
            if (!text(name).empty()) return name;
        return *(names.end() - 1);
    }

    int number(const char* name, int least, int most) const {
        return static_cast<int>(large_number(name, least, most));
    }

    std::int64_t large_number(const char* name, std::int64_t least, std::int64_t most) const {
        const auto value = text(name);
        std::int64_t number = 0;
        const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
        if (value.empty()) throw std::invalid_argument(fmt::format("{}: is not set", name));
        if (error != std::errc{} || end != value.data() + value.size() || number < least || number > most)
            throw std::invalid_argument(
                fmt::format("{}: \"{}\" is no whole number of {} to {}", name, value, least, most));
        return number;
    }

  private:
    const EnvironmentVariable& variable_;
};

/// "pond[07-12,15],lake" -> "pond07".
std::string first_host(std::string_view list) {
    const auto end = list.find_first_of(",[");
    if (end == list.npos || list[end] == ',') return std::string(list.substr(0, end));
    const auto number_end = list.find_first_of(",-]", end);
    const auto close = list.find(']', end);
    if (close == list.npos) return {};
    const auto behind = list.substr(close + 1);
    return fmt::format("{}{}{}", list.substr(0, end), list.substr(end + 1, number_end - end - 1),
                       behind.substr(0, behind.find(',')));
}

/// Jobs and their steps may share a host; where two still choose the same, MASTER_PORT parts them. Below the ports that
/// Linux gives out by itself.
int port_of_step(std::int64_t job, std::int64_t step) {
    constexpr std::int64_t kFirst = 10'000;
    constexpr std::int64_t kPorts = 20'000;
    constexpr std::int64_t kBetweenSteps = 997;  // prime, so that steps go through all ports
    return static_cast<int>(kFirst + (job + kBetweenSteps * step) % kPorts);
}

struct Names {
    const char* rank;
    const char* world_size;
    const char* local_rank;
};

}  // namespace

Rendezvous find_rendezvous(const EnvironmentVariable& variable) {
    const Environment environment(variable);
    const bool of_torchrun = !environment.text("RANK").empty() || !environment.text("WORLD_SIZE").empty();
    const auto names =
        of_torchrun
            ? Names{.rank = "RANK", .world_size = "WORLD_SIZE", .local_rank = "LOCAL_RANK"}
            // srun's alone: the shell of a job has the job's SLURM_NTASKS, too, but is one process.
            : Names{.rank = "SLURM_PROCID", .world_size = "SLURM_STEP_NUM_TASKS", .local_rank = "SLURM_LOCALID"};
    Rendezvous found;
    if (!of_torchrun && environment.text(names.world_size).empty()) return found;
    found.world_size = environment.number(names.world_size, 1, kMostProcesses);
    if (found.is_alone()) return found;
    found.rank = environment.number(names.rank, 0, found.world_size - 1);
    if (!environment.text(names.local_rank).empty())
        found.local_rank = environment.number(names.local_rank, 0, found.world_size - 1);
    found.address = environment.text("MASTER_ADDR");
    if (found.address.empty() && !of_torchrun)
        found.address = first_host(environment.text(environment.first({"SLURM_STEP_NODELIST", "SLURM_JOB_NODELIST"})));
    if (found.address.empty())
        throw std::invalid_argument(
            fmt::format("MASTER_ADDR: is not set, and {} processes need an address to meet at", found.world_size));
    if (!environment.text("MASTER_PORT").empty())
        found.port = environment.number("MASTER_PORT", 1, 65'534);
    else if (!environment.text("SLURM_JOB_ID").empty() && !of_torchrun)
        found.port = port_of_step(
            environment.large_number("SLURM_JOB_ID", 0, kMostSteps),
            environment.text("SLURM_STEP_ID").empty() ? 0 : environment.large_number("SLURM_STEP_ID", 0, kMostSteps));
    // There torchrun itself listens, in the words of its own version of PyTorch: the processes meet one port further.
    if (environment.text("TORCHELASTIC_USE_AGENT_STORE") == "True") ++found.port;
    return found;
}

}  // namespace chorus
