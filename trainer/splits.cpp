#include "trainer/splits.h"

#include <span>
#include <string>

#include "model/bundle.h"

namespace chorus {

bool is_held_out(std::string_view recording, double share) {
    constexpr std::size_t kDigits = 13;  // 52 bits: exact in a double
    const auto digest = sha256_hex(std::as_bytes(std::span(recording)));
    const auto bits = std::stoull(digest.substr(0, kDigits), nullptr, 16);
    return static_cast<double>(bits) < share * static_cast<double>(1ULL << (4 * kDigits));
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
