#include "model/resampler.h"

#include <soxr.h>

#include <algorithm>
#include <stdexcept>
#include <string>

namespace chorus {
namespace {

constexpr int kLowestRate = 8000;
constexpr int kHighestRate = 384000;
constexpr std::size_t kInputChunk = 4096;

struct SoxrDelete {
    void operator()(soxr_t handle) const { soxr_delete(handle); }
};
using SoxrHandle = std::unique_ptr<soxr, SoxrDelete>;

void check_rate(int rate_hz) {
    if (rate_hz < kLowestRate || rate_hz > kHighestRate) {
        throw std::invalid_argument("sample rate " + std::to_string(rate_hz) + " Hz is not in 8000..384000 Hz");
    }
}

SoxrHandle make_soxr(int from_hz, int to_hz) {
    auto quality = soxr_quality_spec(SOXR_HQ, 0);
    // The steeper the filter, the longer a window's last samples wait inside it. These edges are those of the Hann
    // windowed sinc that torchaudio resamples with by default, at a stop band of 120 dB: 4 ms instead of HQ's 15 ms.
    quality.passband_end = 0.8;
    quality.stopband_begin = 1.2;
    auto runtime = soxr_runtime_spec(1);
    runtime.log2_min_dft_size = 8;  // small transforms for the same reason
    runtime.log2_large_dft_size = 8;
    const auto format = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    soxr_error_t error = nullptr;
    SoxrHandle handle(soxr_create(from_hz, to_hz, 1, &error, &format, &quality, &runtime));
    if (error != nullptr || !handle) {
        throw std::runtime_error("resampling " + std::to_string(from_hz) + " Hz to " + std::to_string(to_hz) +
                                 " Hz: " + (error != nullptr ? error : "no memory"));
    }
    return handle;
}

}  // namespace

struct Resampler::State {
    std::int64_t from_hz;
    std::int64_t to_hz;
    SoxrHandle handle;  // none where the rates are equal
    std::vector<float> scratch;
    std::int64_t samples_in = 0;
    std::int64_t samples_out = 0;
    bool finished = false;

    std::int64_t total_out() const { return (2 * samples_in * to_hz + from_hz) / (2 * from_hz); }

    /// Null `in` asks for the tail. Returns how many samples came out.
    std::size_t process(const float* in, std::size_t length, std::size_t& used, std::vector<float>& out) {
        std::size_t produced = 0;
        if (const auto* error =
                soxr_process(handle.get(), in, length, &used, scratch.data(), scratch.size(), &produced)) {
            throw std::runtime_error(std::string("resampling: ") + error);
        }
        // Rounding inside the library may differ from ours by one sample at the very end.
        const auto wanted = std::min<std::int64_t>(static_cast<std::int64_t>(produced),
                                                   in == nullptr ? total_out() - samples_out : INT64_MAX);
        out.insert(out.end(), scratch.begin(), scratch.begin() + wanted);
        samples_out += wanted;
        return produced;
    }
};

Resampler::Resampler(int from_hz, int to_hz) {
    check_rate(from_hz);
    check_rate(to_hz);
    state_ = std::make_unique<State>(State{.from_hz = from_hz, .to_hz = to_hz, .handle = nullptr, .scratch = {}});
    if (from_hz == to_hz) return;
    state_->handle = make_soxr(from_hz, to_hz);
    state_->scratch.resize(kInputChunk * static_cast<std::size_t>(std::max(1, to_hz / from_hz + 1)));
}

Resampler::~Resampler() = default;
Resampler::Resampler(Resampler&&) noexcept = default;
Resampler& Resampler::operator=(Resampler&&) noexcept = default;

void Resampler::push(std::span<const float> in, std::vector<float>& out) {
    auto& state = *state_;
    if (state.finished) throw std::logic_error("Resampler::push after finish");
    state.samples_in += static_cast<std::int64_t>(in.size());
    if (!state.handle) {
        out.insert(out.end(), in.begin(), in.end());
        state.samples_out = state.samples_in;
        return;
    }
    while (true) {
        std::size_t used = 0;
        const auto produced = state.process(in.data(), std::min(in.size(), kInputChunk), used, out);
        in = in.subspan(used);
        if (in.empty() && produced < state.scratch.size()) break;
    }
}

void Resampler::finish(std::vector<float>& out) {
    auto& state = *state_;
    if (state.finished) return;
    state.finished = true;
    if (!state.handle) return;
    std::size_t used = 0;
    while (state.process(nullptr, 0, used, out) > 0) {
    }
    const auto missing = state.total_out() - state.samples_out;
    out.insert(out.end(), static_cast<std::size_t>(std::max<std::int64_t>(missing, 0)), 0.0F);
    state.samples_out += missing;
}

std::vector<float> resample(std::span<const float> in, int from_hz, int to_hz) {
    std::vector<float> out;
    Resampler resampler(from_hz, to_hz);
    if (from_hz != to_hz)
        out.reserve(in.size() * static_cast<std::size_t>(to_hz) / static_cast<std::size_t>(from_hz) + 1);
    resampler.push(in, out);
    resampler.finish(out);
    return out;
}

}  // namespace chorus
