#include "wav.h"

#include <sndfile.h>

#include <cstdlib>
#include <fstream>
#include <memory>
#include <random>
#include <stdexcept>
#include <string_view>

namespace chorus::testing_tools {
namespace {

void append(std::string& out, std::string_view text) {
    out += text;
}

void append_number(std::string& out, std::uint64_t value, int bytes) {
    for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

}  // namespace

Wav noise(int channels, std::int64_t frames, int bits) {
    Wav wav{.channels = channels,
            .sample_rate_hz = 48'000,
            .bits = bits,
            .is_float = false,
            .channel_mask = {},
            .data = {}};
    std::mt19937 random(static_cast<unsigned>(channels * 1000 + bits));
    wav.data.resize(static_cast<std::size_t>(frames) * static_cast<std::size_t>(channels * bits / 8));
    for (auto& byte : wav.data) byte = static_cast<std::uint8_t>(random());
    return wav;
}

void write_wav(const std::filesystem::path& path, const Wav& wav) {
    const auto frame_bytes = static_cast<std::uint64_t>(wav.channels * wav.bits / 8);
    const std::uint64_t tag = wav.is_float ? 3 : 1;
    std::string format;
    append_number(format, wav.channel_mask ? 0xfffe : tag, 2);
    append_number(format, static_cast<std::uint64_t>(wav.channels), 2);
    append_number(format, static_cast<std::uint64_t>(wav.sample_rate_hz), 4);
    append_number(format, static_cast<std::uint64_t>(wav.sample_rate_hz) * frame_bytes, 4);
    append_number(format, frame_bytes, 2);
    append_number(format, static_cast<std::uint64_t>(wav.bits), 2);
    if (wav.channel_mask) {
        append_number(format, 22, 2);
        append_number(format, static_cast<std::uint64_t>(wav.bits), 2);
        append_number(format, *wav.channel_mask, 4);
        append_number(format, tag, 2);
        append(format, std::string_view("\x00\x00\x00\x00\x10\x00\x80\x00\x00\xaa\x00\x38\x9b\x71", 14));
    }
    std::string file = "RIFF";
    append_number(file, 4 + 8 + format.size() + 8 + wav.data.size(), 4);
    append(file, "WAVEfmt ");
    append_number(file, format.size(), 4);
    append(file, format);
    append(file, "data");
    append_number(file, wav.data.size(), 4);
    file.append(wav.data.begin(), wav.data.end());
    std::ofstream out(path, std::ios::binary);
    out.write(file.data(), static_cast<std::streamsize>(file.size()));
    if (!out) throw std::runtime_error("cannot write " + path.string());
}

std::vector<float> read_with_libsndfile(const std::filesystem::path& path) {
    SF_INFO info{};
    const std::unique_ptr<SNDFILE, decltype(&sf_close)> file(sf_open(path.c_str(), SFM_READ, &info), sf_close);
    if (!file) throw std::runtime_error("libsndfile cannot open " + path.string());
    std::vector<float> samples(static_cast<std::size_t>(info.frames * info.channels));
    const auto frames = sf_readf_float(file.get(), samples.data(), info.frames);
    samples.resize(static_cast<std::size_t>(frames * info.channels));
    return samples;
}

}  // namespace chorus::testing_tools
