#include "trainer/backgrounds.h"

#include <fmt/format.h>

#include <stdexcept>

#include "trainer/audio_file.h"
#include "trainer/audio_index.h"
#include "trainer/windows.h"

namespace chorus {

Dataset read_backgrounds(const std::filesystem::path& folder, double window_seconds) {
    Dataset noise;
    const AudioIndex index(folder);
    for (const auto& file : index.files()) {
        try {
            const auto seconds = read_audio_info(file).seconds;
            const auto windows =
                cut_windows(seconds, {}, 0, {.window_seconds = window_seconds, .hop_seconds = window_seconds});
            if (windows.empty())
                throw std::runtime_error(fmt::format("lasts only {:.2f} s, a window {:g} s", seconds, window_seconds));
            for (const auto& window : windows)
                noise.clips.push_back({.audio = file,
                                       .offset_seconds = window.start_seconds,
                                       .recording = file.stem().string(),
                                       .start_seconds = window.start_seconds,
                                       .targets = {}});
        } catch (const std::runtime_error& error) {
            noise.left_out.push_back(left_out_of(file, error.what()));
        }
    }
    if (!noise.clips.empty()) return noise;
    if (noise.left_out.empty()) throw std::runtime_error(fmt::format("{}: no recording in it", folder.string()));
    const auto& first = noise.left_out.front();
    throw std::runtime_error(
        fmt::format("{}: no recording can be used; the first: {}: {}", folder.string(), first.item, first.reason));
}

}  // namespace chorus
