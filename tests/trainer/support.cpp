#include "tests/trainer/support.h"

#include <sndfile.h>
#include <unistd.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <numbers>
#include <random>
#include <stdexcept>
#include <vector>

namespace chorus {

void write_text(const std::filesystem::path& path, std::string_view text) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream file(path, std::ios::binary);
    file << text;
    if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

void write_wav(const std::filesystem::path& path, std::span<const float> samples, int rate_hz, int channels) {
    std::filesystem::create_directories(path.parent_path());
    SF_INFO info{};
    info.samplerate = rate_hz;
    info.channels = channels;
    info.format = SF_FORMAT_WAV | SF_FORMAT_PCM_16;
    SNDFILE* file = sf_open(path.c_str(), SFM_WRITE, &info);
    if (file == nullptr) throw std::runtime_error("cannot write " + path.string());
    const auto count = static_cast<sf_count_t>(samples.size());
    const auto written = sf_write_float(file, samples.data(), count);
    sf_close(file);
    if (written != count) throw std::runtime_error("cannot write " + path.string());
}

void write_tone_dataset(const std::filesystem::path& folder, int training_clips, int test_clips) {
    constexpr int kRate = 22050;
    constexpr int kSamples = 3 * kRate;
    constexpr double kTurn = 2.0 * std::numbers::pi;
    std::mt19937 engine(7);
    const auto uniform = [&] { return static_cast<double>(engine()) / 4294967296.0; };
    std::string manifest = "sample_name,fname,min_t,max_t,site,date,species_number,subset,LOW,RISE,TRILL\n";
    for (int clip = 0; clip < training_clips + test_clips; ++clip) {
        const bool present[] = {uniform() < 0.4, uniform() < 0.4, uniform() < 0.4};
        const double phase = uniform();
        std::vector<float> samples(kSamples);
        for (int i = 0; i < kSamples; ++i) {
            const double t = static_cast<double>(i) / kRate;
            double value = 0.02 * (uniform() - 0.5);
            if (present[0]) value += 0.1 * std::sin(kTurn * 600.0 * t);
            if (present[1]) {
                const double sweep = std::fmod(t + phase, 0.5);
                value += 0.1 * std::sin(kTurn * (1000.0 * sweep + 2000.0 * sweep * sweep));
            }
            if (present[2] && std::fmod(t + phase, 0.1) < 0.05) value += 0.1 * std::sin(kTurn * 5000.0 * t);
            samples[static_cast<std::size_t>(i)] = static_cast<float>(value);
        }
        const auto recording = "POND_" + std::to_string(clip);
        write_wav(folder / "audio" / "POND" / (recording + "_0_3.wav"), samples, kRate);
        const int species = present[0] + present[1] + present[2];
        manifest += recording + "_0_3," + recording + ",0,3,POND,2026-01-01," + std::to_string(species) + ',' +
                    (clip < training_clips ? "train" : "test");
        for (const bool is_present : present) manifest += is_present ? ",1" : ",0";
        manifest += '\n';
    }
    write_text(folder / "metadata.csv", manifest);
}

}  // namespace chorus
