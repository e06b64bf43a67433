#pragma once
// Where an unfinished training stands, in one safetensors file: nothing in it can execute.

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "model/safetensors.h"
#include "trainer/training.h"

namespace chorus {

/// Everything that decides how training goes on.
struct Checkpoint {
    std::string fingerprint;  // of options and data; a checkpoint of others is not gone on with
    std::string random;       // the generator's state
    int epoch = 0;            // from 0: the one being trained
    std::int64_t step = 0;    // steps of it that are done
    double loss_sum = 0.0;    // of those steps
    double best = -1.0;
    std::vector<std::size_t> order;               // the epoch's rows
    std::map<std::string, StoredTensor> network;  // float32
    std::map<std::string, StoredTensor> average;  // of the weights; empty where none is kept
    std::map<std::string, StoredTensor> optimiser;
    double loss_scale = 1.0;  // of float16 (autocast.h), and the steps since it last changed
    int loss_scale_steps = 0;
    TrainedNetwork trained;  // up to now
};

/// Written beside `path`, flushed to disk and renamed over it: after a crash there is the old one or the new one.
/// Throws std::runtime_error with one line that begins with the path.
void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint);

/// The leader's, for all processes; nothing where it has no such file. Throws std::runtime_error with one line that
/// begins with the path where it is broken.
std::optional<Checkpoint> read_checkpoint(const std::filesystem::path& path, const ProcessGroup& processes);

}  // namespace chorus
