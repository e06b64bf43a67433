#include "model/front_end.h"

#include <fftw3.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <mutex>
#include <numbers>
#include <stdexcept>
#include <string>

#include "model/mel_columns.h"

namespace chorus {
namespace {

struct FftwFree {
    void operator()(void* memory) const { fftwf_free(memory); }
};
using FftwFloats = std::unique_ptr<float[], FftwFree>;

struct PlanDestroy {
    void operator()(fftwf_plan plan) const;
};
using FftwPlan = std::unique_ptr<std::remove_pointer_t<fftwf_plan>, PlanDestroy>;

/// FFTW's planner is not thread-safe; running a plan is.
std::mutex& planner_mutex() {
    static std::mutex mutex;
    return mutex;
}

void PlanDestroy::operator()(fftwf_plan plan) const {
    const std::lock_guard lock(planner_mutex());
    fftwf_destroy_plan(plan);
}

FftwFloats allocate_floats(std::size_t count) {
    FftwFloats memory(fftwf_alloc_real(count));
    if (!memory) throw std::bad_alloc();
    return memory;
}

/// Aligned as the plan was made for; one a thread, so that a const FrontEnd can be shared.
struct Workspace {
    std::size_t n_fft = 0;
    FftwFloats samples;   // n_fft
    FftwFloats spectrum;  // n_fft / 2 + 1 complex values, then their powers in place

    void fit(std::size_t wanted) {
        if (n_fft == wanted) return;
        n_fft = 0;
        samples = allocate_floats(wanted);
        spectrum = allocate_floats(wanted + 2);
        n_fft = wanted;
    }
};

Workspace& workspace(int n_fft) {
    thread_local Workspace memory;
    memory.fit(static_cast<std::size_t>(n_fft));
    return memory;
}

double hz_to_mel(double hz) {
    return 2595.0 * std::log10(1.0 + hz / 700.0);
}

/// The corners of all triangles in Hz: mels + 2 points, evenly spread in mel. In single precision and in the order of
/// operations of torch.linspace (from both ends, eight at a time), so that the filters are torchaudio's to the last
/// bit.
std::vector<float> corner_frequencies(const FrontEndParameters& p) {
    constexpr int kLanes = 8;
    const auto lowest = static_cast<float>(hz_to_mel(p.f_min_hz));
    const auto highest = static_cast<float>(hz_to_mel(p.f_max_hz));
    const int points = p.mels + 2;
    const float step = (highest - lowest) / static_cast<float>(points - 1);
    const auto point = [&](int i) {
        if (i < points / 2) return lowest + step * static_cast<float>(i);
        return highest - step * static_cast<float>(points - 1 - i);
    };
    std::vector<float> corners;
    for (int i = 0; i < points; ++i) {
        const int lane = i < points / kLanes * kLanes ? i % kLanes : 0;
        const float mel = point(i - lane) + step * static_cast<float>(lane);
        corners.push_back(700.0F * (std::pow(10.0F, mel / 2595.0F) - 1.0F));
    }
    return corners;
}

/// The triangle of one mel over the bins where it is above zero.
struct Filter {
    int first_bin = 0;
    std::vector<float> weights;
};

std::vector<Filter> make_filters(const FrontEndParameters& p) {
    const int bins = p.n_fft / 2 + 1;
    const auto corners = corner_frequencies(p);
    // torchaudio spreads the bins evenly up to the whole-numbered Nyquist frequency.
    const float bin_hz = static_cast<float>(p.sample_rate_hz / 2) / static_cast<float>(bins - 1);

    std::vector<Filter> filters(static_cast<std::size_t>(p.mels));
    for (int mel = 0; mel < p.mels; ++mel) {
        const auto at = static_cast<std::size_t>(mel);
        auto& filter = filters[at];
        const float left = corners[at];
        const float centre = corners[at + 1];
        const float right = corners[at + 2];
        for (int bin = 0; bin < bins; ++bin) {
            const float hz = static_cast<float>(bin) * bin_hz;
            const float weight = std::min((hz - left) / (centre - left), (right - hz) / (right - centre));
            if (!(weight > 0)) continue;
            if (filter.weights.empty()) filter.first_bin = bin;
            filter.weights.push_back(weight);
        }
    }
    return filters;
}

void require(bool ok, const char* parameter, const std::string& rule) {
    if (!ok) throw std::invalid_argument(std::string("front-end: ") + parameter + " must be " + rule);
}

}  // namespace

void validate(const FrontEndParameters& p) {
    require(p.sample_rate_hz >= 8000 && p.sample_rate_hz <= 384000, "sample_rate_hz", "8000 to 384000");
    require(p.n_fft >= 32 && p.n_fft <= 8192 && (p.n_fft & (p.n_fft - 1)) == 0, "n_fft",
            "a power of two from 32 to 8192");
    require(p.hop >= 1 && p.hop <= p.n_fft, "hop", "1 to n_fft samples");
    require(p.mels >= 1 && p.mels <= 512, "mels", "1 to 512");
    require(p.window_seconds > 0 && p.window_seconds <= 60, "window_seconds", "above 0 and at most 60");
    require(p.window_samples() >= p.n_fft, "window_seconds", "long enough for n_fft samples");
    require(p.frames() <= kMaxFrames, "hop", "so long that a window has at most 65536 frames");
    require(p.feature_size() <= kMaxFeatures, "mels", "so few that a window has at most 16777216 features");
    require(std::int64_t{p.frames()} * p.n_fft <= kMaxTransformed, "hop", "longer for an n_fft and window this long");
    require(p.f_min_hz >= 0 && p.f_min_hz < p.f_max_hz, "f_min_hz", "at least 0 and below f_max_hz");
    require(p.f_max_hz <= p.sample_rate_hz / 2.0, "f_max_hz", "at most half the sample rate");
    require(p.log_floor >= 1e-30 && p.log_floor <= 1, "log_floor", "1e-30 to 1");
}

struct FrontEnd::Tables {
    std::vector<float> hann;  // n_fft, periodic
    std::vector<Filter> filters;
    FftwPlan plan;
    float floor = 0;

    explicit Tables(const FrontEndParameters& p) : filters(make_filters(p)), floor(static_cast<float>(p.log_floor)) {
        hann.reserve(static_cast<std::size_t>(p.n_fft));
        for (int n = 0; n < p.n_fft; ++n) {
            hann.push_back(static_cast<float>(0.5 - 0.5 * std::cos(2.0 * std::numbers::pi * n / p.n_fft)));
        }
        auto& memory = workspace(p.n_fft);
        const std::lock_guard lock(planner_mutex());
        // Estimated, not measured: a measured plan differs from run to run and so would the last bits of every score.
        plan.reset(fftwf_plan_dft_r2c_1d(p.n_fft, memory.samples.get(),
                                         reinterpret_cast<fftwf_complex*>(memory.spectrum.get()),
                                         FFTW_ESTIMATE | FFTW_DESTROY_INPUT));
        if (!plan) throw std::runtime_error("FFTW has no plan for n_fft " + std::to_string(p.n_fft));
    }
};

FrontEnd::FrontEnd(const FrontEndParameters& parameters) : parameters_(parameters) {
    validate(parameters);
    tables_ = std::make_unique<const Tables>(parameters);
}

FrontEnd::~FrontEnd() = default;

std::vector<float> FrontEnd::filterbank() const {
    const auto mels = static_cast<std::size_t>(parameters_.mels);
    std::vector<float> dense(static_cast<std::size_t>(parameters_.n_fft / 2 + 1) * mels, 0.0F);
    for (std::size_t mel = 0; mel < mels; ++mel) {
        const auto& filter = tables_->filters[mel];
        for (std::size_t i = 0; i < filter.weights.size(); ++i) {
            dense[(static_cast<std::size_t>(filter.first_bin) + i) * mels + mel] = filter.weights[i];
        }
    }
    return dense;
}

void FrontEnd::frame(std::span<const float> samples, std::span<float> mel_db) const {
    const auto n_fft = static_cast<std::size_t>(parameters_.n_fft);
    if (samples.size() != n_fft || mel_db.size() != static_cast<std::size_t>(parameters_.mels)) {
        throw std::invalid_argument("FrontEnd::frame wants n_fft samples and room for one value a mel");
    }
    auto& memory = workspace(parameters_.n_fft);
    float* const windowed = memory.samples.get();
    float* const spectrum = memory.spectrum.get();
    for (std::size_t n = 0; n < n_fft; ++n) windowed[n] = samples[n] * tables_->hann[n];
    fftwf_execute_dft_r2c(tables_->plan.get(), windowed, reinterpret_cast<fftwf_complex*>(spectrum));

    float* const power = windowed;  // n_fft / 2 + 1 values fit where the samples were
    for (std::size_t bin = 0; bin <= n_fft / 2; ++bin) {
        const float real = spectrum[2 * bin];
        const float imaginary = spectrum[2 * bin + 1];
        power[bin] = real * real + imaginary * imaginary;
    }
    constexpr float kDecibelsPerNeper = 4.342944819F;  // 10 / ln 10
    for (std::size_t mel = 0; mel < mel_db.size(); ++mel) {
        const auto& filter = tables_->filters[mel];
        const float* const in = power + filter.first_bin;
        float sum = 0;
        for (std::size_t i = 0; i < filter.weights.size(); ++i) sum += in[i] * filter.weights[i];
        // Written so that a NaN becomes the floor: one bad sample must not reach the scores of every class.
        const float floored = sum > tables_->floor ? std::min(sum, std::numeric_limits<float>::max()) : tables_->floor;
        mel_db[mel] = kDecibelsPerNeper * std::log(floored);
    }
}

void FrontEnd::log_mel(std::span<const float> clip, std::span<float> features) const {
    if (clip.size() != static_cast<std::size_t>(parameters_.window_samples()) ||
        features.size() != parameters_.feature_size()) {
        throw std::invalid_argument("FrontEnd::log_mel wants one window of samples and room for its features");
    }
    const auto mels = static_cast<std::size_t>(parameters_.mels);
    const auto frames = static_cast<std::size_t>(parameters_.frames());
    thread_local std::vector<float> columns;
    thread_local std::vector<const float*> pointers;
    columns.resize(mels * frames);
    pointers.resize(frames);
    for (std::size_t f = 0; f < frames; ++f) {
        const std::span column(columns.data() + f * mels, mels);
        frame_of_clip(*this, clip, static_cast<int>(f), column);
        pointers[f] = column.data();
    }
    transpose_columns(pointers, mels, features);
}

void normalise(std::span<float> features) {
    if (features.empty()) return;
    constexpr std::size_t kLanes = 16;  // independent minima and maxima, so that the compiler can use vectors
    std::array<float, kLanes> low;
    std::array<float, kLanes> high;
    low.fill(features[0]);
    high.fill(features[0]);
    const std::size_t whole = features.size() / kLanes * kLanes;
    for (std::size_t i = 0; i < whole; i += kLanes) {
        for (std::size_t lane = 0; lane < kLanes; ++lane) {
            const float value = features[i + lane];
            low[lane] = value < low[lane] ? value : low[lane];
            high[lane] = value > high[lane] ? value : high[lane];
        }
    }
    float lowest = *std::ranges::min_element(low);
    float highest = *std::ranges::max_element(high);
    for (const float value : features.subspan(whole)) {
        lowest = std::min(lowest, value);
        highest = std::max(highest, value);
    }
    const float range = highest - lowest;
    if (!(range > 0)) {
        std::ranges::fill(features, 0.0F);
        return;
    }
    for (auto& value : features) value = (value - lowest) / range;
}

void features_of_clip(const FrontEnd& front_end, std::span<const float> clip, std::span<float> features) {
    front_end.log_mel(clip, features);
    normalise(features);
}

void frame_of_clip(const FrontEnd& front_end, std::span<const float> clip, int frame, std::span<float> mel_db) {
    const auto& p = front_end.parameters();
    const std::int64_t size = static_cast<std::int64_t>(clip.size());
    const std::int64_t first = std::int64_t{frame} * p.hop - p.n_fft / 2;
    if (first >= 0 && first + p.n_fft <= size) {
        front_end.frame(clip.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(p.n_fft)), mel_db);
        return;
    }
    thread_local std::vector<float> padded;
    padded.resize(static_cast<std::size_t>(p.n_fft));
    for (std::int64_t n = 0; n < p.n_fft; ++n) {
        std::int64_t at = std::abs(first + n);
        if (at >= size) at = 2 * (size - 1) - at;
        padded[static_cast<std::size_t>(n)] = clip[static_cast<std::size_t>(at)];
    }
    front_end.frame(padded, mel_db);
}

void transpose_columns(std::span<const float* const> columns, std::size_t mels, std::span<float> features) {
    constexpr std::size_t kTile = 16;  // frames at a time: one cache line of every row
    for (std::size_t first = 0; first < columns.size(); first += kTile) {
        const auto tile = columns.subspan(first, std::min(kTile, columns.size() - first));
        for (std::size_t mel = 0; mel < mels; ++mel) {
            float* const row = features.data() + mel * columns.size() + first;
            for (std::size_t f = 0; f < tile.size(); ++f) row[f] = tile[f][mel];
        }
    }
}

}  // namespace chorus
