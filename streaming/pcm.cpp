#include "streaming/pcm.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

namespace chorus {
namespace {

static_assert(std::endian::native == std::endian::little, "samples are read as they lie in memory");

template <class Integer>
void append_integers(std::span<const std::uint8_t> bytes, float scale, float* out) {
    const std::size_t count = bytes.size() / sizeof(Integer);
    for (std::size_t i = 0; i < count; ++i) {
        Integer value = 0;
        std::memcpy(&value, bytes.data() + i * sizeof(Integer), sizeof(Integer));
        out[i] = static_cast<float>(value) * scale;
    }
}

void append_s24(std::span<const std::uint8_t> bytes, float* out) {
    for (std::size_t i = 0; i + 2 < bytes.size(); i += 3) {
        // In the upper three bytes of a word, so that the sign comes along; the scale is that of 32 bits.
        const auto word = static_cast<std::uint32_t>(bytes[i]) << 8 | static_cast<std::uint32_t>(bytes[i + 1]) << 16 |
                          static_cast<std::uint32_t>(bytes[i + 2]) << 24;
        *out++ = static_cast<float>(static_cast<std::int32_t>(word)) * 0x1p-31F;
    }
}

void append(PcmFormat format, std::span<const std::uint8_t> bytes, std::vector<float>& samples) {
    const auto before = samples.size();
    samples.resize(before + bytes.size() / bytes_per_sample(format));
    float* const out = samples.data() + before;
    switch (format) {
        case PcmFormat::kS16:
            return append_integers<std::int16_t>(bytes, 0x1p-15F, out);
        case PcmFormat::kS24:
            return append_s24(bytes, out);
        case PcmFormat::kS32:
            return append_integers<std::int32_t>(bytes, 0x1p-31F, out);
        case PcmFormat::kF32:
            if (!bytes.empty()) std::memcpy(out, bytes.data(), bytes.size());
            return;
    }
}

}  // namespace

PcmReader::PcmReader(PcmFormat format, int channels) : format_(format) {
    if (channels < 1) throw std::invalid_argument("sound needs at least one channel");
    frame_bytes_ = bytes_per_sample(format) * static_cast<std::size_t>(channels);
}

void PcmReader::read(std::span<const std::uint8_t> bytes, std::vector<float>& samples) {
    if (!partial_.empty()) {
        const auto missing = std::min(frame_bytes_ - partial_.size(), bytes.size());
        partial_.insert(partial_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(missing));
        bytes = bytes.subspan(missing);
        if (partial_.size() < frame_bytes_) return;
        append(format_, partial_, samples);
        partial_.clear();
    }
    const auto whole = bytes.size() - bytes.size() % frame_bytes_;
    append(format_, bytes.first(whole), samples);
    const auto rest = bytes.subspan(whole);
    partial_.assign(rest.begin(), rest.end());
}

}  // namespace chorus
