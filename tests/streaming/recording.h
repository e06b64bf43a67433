#pragma once

#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "streaming/audio_source.h"

namespace chorus::testing_tools {

/// All that a source gave.
struct Recording {
    int sample_rate_hz = 0;
    int channels = 0;
    std::vector<float> samples;  // [frame, channel], gaps left out
    std::vector<AudioBlock> blocks;
    std::vector<Gap> gaps;
    bool ended = false;
};

/// Reads to the end, or until there are `frames`. Throws where indices don't follow from what came before.
inline Recording record(AudioSource& source, std::int64_t frames = INT64_MAX,
                        std::chrono::seconds patience = std::chrono::seconds(20)) {
    Recording recording;
    const auto deadline = std::chrono::steady_clock::now() + patience;
    std::int64_t next_sample = 0;
    std::int64_t received = 0;
    while (received < frames) {
        if (std::chrono::steady_clock::now() > deadline) throw std::runtime_error("the source took too long");
        auto item = source.read(std::chrono::milliseconds(200));
        if (std::holds_alternative<EndOfStream>(item)) {
            recording.ended = true;
            break;
        }
        if (const auto* gap = std::get_if<Gap>(&item)) {
            recording.gaps.push_back(*gap);
            next_sample += gap->samples;
        } else if (auto* block = std::get_if<AudioBlock>(&item)) {
            if (block->first_sample != next_sample) throw std::runtime_error("a block's index does not follow");
            if (block->frames() == 0 || block->samples.size() % static_cast<std::size_t>(block->channels) != 0) {
                throw std::runtime_error("a block without whole frames");
            }
            next_sample += block->frames();
            received += block->frames();
            recording.sample_rate_hz = block->sample_rate_hz;
            recording.channels = block->channels;
            recording.samples.insert(recording.samples.end(), block->samples.begin(), block->samples.end());
            recording.blocks.push_back(std::move(*block));
        }
    }
    return recording;
}

inline std::string failure_of(const GStreamerOptions& options) {
    try {
        record(*open_gstreamer_source(options));
        return "no failure";
    } catch (const std::exception& error) {
        return error.what();
    }
}

inline Recording record_launch(const std::string& launch) {
    return record(*open_gstreamer_source({.name = "source", .launch = launch}));
}

inline Recording record_file(const std::string& path) {
    return record_launch(launch_for_file(path));
}

}  // namespace chorus::testing_tools
