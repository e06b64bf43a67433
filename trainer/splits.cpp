#include "trainer/splits.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string>

#include "model/bundle.h"
#include "streaming/recorder_time.h"

namespace chorus {

bool is_held_out(std::string_view recording, double share) {
    constexpr std::size_t kDigits = 13;  // 52 bits: exact in a double
    const auto digest = sha256_hex(std::as_bytes(std::span(recording)));
    const auto bits = std::stoull(digest.substr(0, kDigits), nullptr, 16);
    return static_cast<double>(bits) < share * static_cast<double>(1ULL << (4 * kDigits));
}

Subset subset_by_name(std::string_view recording, double test_share) {
    return is_held_out("test/" + std::string(recording), test_share) ? Subset::kTest : Subset::kTrain;
}

std::string session_of(std::string_view recording) {
    const auto time = time_in_name(recording);
    if (!time) return std::string(recording);
    const auto date = fmt::format("{:%Y%m%d}", time->shown);
    const auto clock = fmt::format("{:%H%M%S}", std::chrono::floor<std::chrono::seconds>(time->shown));
    std::size_t last = 0;
    for (const char separator : {'_', '-', 'T'})
        if (const auto at = recording.rfind(date + separator + clock); at != recording.npos) last = std::max(last, at);
    return std::string(recording.substr(0, last + date.size()));
}

Split split_by_recording(const Dataset& dataset, double held_out_share) {
    Split split;
    for (std::size_t i = 0; i < dataset.clips.size(); ++i) {
        const auto& clip = dataset.clips[i];
        if (clip.subset == Subset::kTest)
            split.test.push_back(i);
        else if (is_held_out(clip.recording, held_out_share))
            split.validation.push_back(i);
        else
            split.training.push_back(i);
    }
    return split;
}

}  // namespace chorus
