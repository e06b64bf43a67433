#include "trainer/audio_file.h"

#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <stdexcept>

#include "model/resampler.h"

namespace chorus {
namespace {

constexpr int kMaxChannels = 64;
constexpr sf_count_t kBlockFrames = 1 << 16;

struct CloseSndfile {
    void operator()(SNDFILE* file) const { sf_close(file); }
};
using SndfileHandle = std::unique_ptr<SNDFILE, CloseSndfile>;

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& reason) {
    throw std::runtime_error(fmt::format("{}: {}", path.string(), reason));
}

void take_channel(std::span<const float> interleaved, int channels, std::optional<int> channel,
                  std::vector<float>& mono) {
    const auto stride = static_cast<std::size_t>(channels);
    for (std::size_t i = 0; i < interleaved.size(); i += stride) {
        if (channel) {
            mono.push_back(interleaved[i + static_cast<std::size_t>(*channel)]);
            continue;
        }
        float sum = 0.0F;
        for (std::size_t c = 0; c < stride; ++c) sum += interleaved[i + c];
        mono.push_back(sum / static_cast<float>(channels));
    }
}

/// With a rate and a number of channels that can be dealt with.
SndfileHandle open(const std::filesystem::path& path, SF_INFO& info) {
    SndfileHandle file(sf_open(path.c_str(), SFM_READ, &info));
    if (!file) {
        std::string reason = sf_strerror(nullptr);
        std::erase(reason, '\n');
        fail(path, fmt::format("cannot be read as sound ({})", reason));
    }
    if (info.channels < 1 || info.channels > kMaxChannels)
        fail(path, fmt::format("{} channels, of 1 to {}", info.channels, kMaxChannels));
    if (info.samplerate < 8000 || info.samplerate > 384000)
        fail(path, fmt::format("{} Hz, of 8000 to 384000", info.samplerate));
    return file;
}

}  // namespace

std::string decoder_version() {
    return sf_version_string();
}

AudioInfo read_audio_info(const std::filesystem::path& path) {
    SF_INFO info{};
    open(path, info);
    return {.seconds = static_cast<double>(info.frames) / info.samplerate, .channels = info.channels};
}

std::vector<float> read_audio(const std::filesystem::path& path, int rate_hz, const AudioSpan& span) {
    SF_INFO info{};
    const auto file = open(path, info);
    if (span.channel && (*span.channel < 0 || *span.channel >= info.channels))
        fail(path, fmt::format("has no channel {}, only 0 to {}", *span.channel, info.channels - 1));
    if (!(span.start_seconds >= 0.0) || (span.seconds && !(*span.seconds >= 0.0)))
        fail(path, "a span must begin and last 0 s or more");

    const double rate = info.samplerate;
    const double file_frames = static_cast<double>(info.frames);
    const auto begin = static_cast<sf_count_t>(std::min(std::round(span.start_seconds * rate), file_frames));
    const auto available = info.frames - begin;
    const auto frames =
        span.seconds
            ? static_cast<sf_count_t>(std::min(std::round(*span.seconds * rate), static_cast<double>(available)))
            : available;
    if (static_cast<double>(frames) > kMaxAudioSeconds * rate)
        fail(path, fmt::format("{:.0f} s of sound, more than the {:.0f} s read at once",
                               static_cast<double>(frames) / rate, kMaxAudioSeconds));
    if (begin > 0 && sf_seek(file.get(), begin, SEEK_SET) != begin) fail(path, "cannot be searched for a position");

    std::vector<float> mono;
    std::vector<float> block(static_cast<std::size_t>(kBlockFrames * info.channels));
    for (sf_count_t left = frames; left > 0;) {
        const auto got = sf_readf_float(file.get(), block.data(), std::min(left, kBlockFrames));
        if (got <= 0) fail(path, fmt::format("is cut short: {:.2f} s are missing", static_cast<double>(left) / rate));
        take_channel(std::span(block).first(static_cast<std::size_t>(got * info.channels)), info.channels, span.channel,
                     mono);
        left -= got;
    }
    if (!std::all_of(mono.begin(), mono.end(), [](float sample) { return std::isfinite(sample); }))
        fail(path, "holds samples that are not finite numbers");
    return info.samplerate == rate_hz ? mono : resample(mono, info.samplerate, rate_hz);
}

}  // namespace chorus
