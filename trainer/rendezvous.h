#pragma once

#include <functional>
#include <string>

namespace chorus {

/// A process's place among those that train one model together, and where they meet.
struct Rendezvous {
    int rank = 0;        // 0 leads: it writes what is written
    int world_size = 1;  // processes in all
    int local_rank = 0;  // among those of the same machine
    std::string address;
    int port = 29500;  // PyTorch's

    bool is_alone() const { return world_size == 1; }
};

/// The value of an environment variable, or null, as std::getenv has it.
using EnvironmentVariable = std::function<const char*(const char* name)>;

/// As torchrun tells it (RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR, MASTER_PORT), or whoever sets the same; else as
/// Slurm's srun does (SLURM_PROCID, SLURM_STEP_NUM_TASKS, SLURM_LOCALID, and the first host of
/// SLURM_STEP_NODELIST or SLURM_JOB_NODELIST; MASTER_ADDR and MASTER_PORT go before; the port is by
/// SLURM_JOB_ID and SLURM_STEP_ID). Alone without any of them. Throws
/// std::invalid_argument naming the variable that is missing or makes no sense.
Rendezvous find_rendezvous(const EnvironmentVariable& variable);

}  // namespace chorus
