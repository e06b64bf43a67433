#include "tests/end_to_end/field.h"

#include <fmt/format.h>
#include <sndfile.h>

#include <cmath>
#include <fstream>
#include <numbers>
#include <random>
#include <stdexcept>

namespace chorus {
namespace {

const std::vector<std::string> kCodes = {"RISER", "STEADY", "TRILLER"};
constexpr double kNoise = 0.01;

// The call's pressure at t seconds after its start.
double voice(const std::string& code, double t) {
    const double turn = 2 * std::numbers::pi;
    if (code == "RISER") return std::sin(turn * (600 * t + 500 * std::fmod(t, 0.5) * std::fmod(t, 0.5)));
    if (code == "STEADY") return std::sin(turn * 2500 * t);
    return std::sin(turn * 4500 * t) * (std::fmod(t, 0.1) < 0.05 ? 1.0 : 0.0);
}

std::vector<float> noise(std::mt19937& random, std::size_t size) {
    std::normal_distribution<double> normal(0.0, kNoise);
    std::vector<float> samples(size);
    for (auto& sample : samples) sample = static_cast<float>(normal(random));
    return samples;
}

void add_call(std::vector<float>& samples, int rate_hz, const std::string& code, double start_s, double end_s,
              double amplitude) {
    const auto first = static_cast<std::int64_t>(start_s * rate_hz);
    const auto last = static_cast<std::int64_t>(end_s * rate_hz);
    for (std::int64_t i = std::max<std::int64_t>(first, 0);
         i < std::min<std::int64_t>(last, static_cast<std::int64_t>(samples.size())); ++i) {
        samples[static_cast<std::size_t>(i)] +=
            static_cast<float>(amplitude * voice(code, static_cast<double>(i - first) / rate_hz));
    }
}

void write_wav(const std::filesystem::path& file, int channels, int rate_hz, const std::vector<float>& interleaved) {
    SF_INFO info{};
    info.channels = channels;
    info.samplerate = rate_hz;
    info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
    SNDFILE* out = sf_open(file.c_str(), SFM_WRITE, &info);
    if (out == nullptr) throw std::runtime_error("cannot write " + file.string());
    sf_writef_float(out, interleaved.data(), static_cast<sf_count_t>(interleaved.size()) / channels);
    sf_close(out);
}

}  // namespace

void write_dataset(const std::filesystem::path& folder, int train, int test) {
    constexpr int kRate = 22'050;
    std::mt19937 random(1);
    std::uniform_real_distribution<double> uniform(0.0, 1.0);
    std::filesystem::create_directories(folder / "audio" / "LAB");
    std::ofstream metadata(folder / "metadata.csv");
    metadata << "sample_name,fname,min_t,max_t,site,date,species_number,subset";
    for (const auto& code : kCodes) metadata << ',' << code;
    metadata << '\n';
    for (int index = 0; index < train + test; ++index) {
        auto samples = noise(random, 3 * kRate);
        std::vector<int> present(kCodes.size(), 0);
        const int calls = static_cast<int>(random() % 3);
        for (int call = 0; call < calls; ++call) {
            const std::size_t which = random() % kCodes.size();
            present[which] = 1;
            const double start = uniform(random) * 2.8 - 0.8;
            add_call(samples, kRate, kCodes[which], start, start + 1.0 + uniform(random),
                     0.05 + 0.15 * uniform(random));
        }
        const auto fname = fmt::format("LAB_202601{:02}_{:02}{:02}00", 1 + index / 1440, index / 60 % 24, index % 60);
        write_wav(folder / "audio" / "LAB" / (fname + "_0_3.wav"), 1, kRate, samples);
        metadata << fmt::format("{0}_0_3,{0},0,3,LAB,2026-01-01,{1},{2}", fname, calls,
                                index < train ? "train" : "test");
        for (const int one : present) metadata << ',' << one;
        metadata << '\n';
    }
}

void write_recording(const std::filesystem::path& file, int channels, int sample_rate_hz, double seconds,
                     const std::vector<Call>& calls) {
    std::mt19937 random(2);
    const auto frames = static_cast<std::size_t>(seconds * sample_rate_hz);
    std::vector<float> interleaved(frames * static_cast<std::size_t>(channels));
    for (int channel = 0; channel < channels; ++channel) {
        auto samples = noise(random, frames);
        for (const auto& call : calls) {
            if (call.channel == channel) add_call(samples, sample_rate_hz, call.code, call.start_s, call.end_s, 0.15);
        }
        for (std::size_t i = 0; i < frames; ++i)
            interleaved[i * static_cast<std::size_t>(channels) + static_cast<std::size_t>(channel)] = samples[i];
    }
    write_wav(file, channels, sample_rate_hz, interleaved);
}

}  // namespace chorus
