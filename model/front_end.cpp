#include "model/front_end.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numbers>
#include <stdexcept>
#include <string>

#include "model/mel_columns.h"
#include "model/sound_kernels.h"

namespace chorus {
namespace {

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

/// Where the transform of so many points leaves each output.
std::vector<int> output_order(int points) {
    std::vector<int> order;
    for (int output = 0; output < points; ++output) {
        int place = 0;
        int digits = output;
        int length = points;
        for (; length >= 4; length /= 4, digits /= 4) place += digits % 4 * (length / 4);
        order.push_back(place + digits);
    }
    return order;
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
    std::vector<Filter> filters;
    std::vector<MelFilter> lent_filters;
    std::vector<float> window;    // periodic Hann, halved: the transform wants it so
    std::vector<float> twiddles;  // [n_fft, 2]
    std::vector<int> order;
    MelTransform transform;

    explicit Tables(const FrontEndParameters& p) : filters(make_filters(p)), order(output_order(p.n_fft / 2)) {
        for (const auto& filter : filters) {
            lent_filters.push_back({.first_bin = filter.first_bin,
                                    .bins = static_cast<int>(filter.weights.size()),
                                    .weights = filter.weights.data()});
        }
        for (int n = 0; n < p.n_fft; ++n) {
            const double angle = 2.0 * std::numbers::pi * n / p.n_fft;
            window.push_back(static_cast<float>(0.5 - 0.5 * std::cos(angle)) / 2);
            twiddles.push_back(static_cast<float>(std::cos(angle)));
            twiddles.push_back(static_cast<float>(-std::sin(angle)));
        }
        transform = {.n_fft = p.n_fft,
                     .mels = p.mels,
                     .floor = static_cast<float>(p.log_floor),
                     .window = window.data(),
                     .twiddles = twiddles.data(),
                     .order = order.data(),
                     .filters = lent_filters.data()};
    }
    Tables(const Tables&) = delete;
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

/// One a thread, so that a const FrontEnd can be shared.
struct FrameBatch::Scratch {
    AlignedFloats transform;
    AlignedFloats padded;  // [kFramesAtOnce, n_fft] frames that reach over a clip's edge

    static Scratch& of_this_thread(const MelTransform& transform) {
        thread_local Scratch scratch;
        const auto wanted = static_cast<std::size_t>(transform.scratch_size());
        if (scratch.transform.size() < wanted) {
            scratch.transform = AlignedFloats(wanted);
            scratch.padded = AlignedFloats(static_cast<std::size_t>(kFramesAtOnce * transform.n_fft));
        }
        return scratch;
    }
};

FrameBatch::FrameBatch(const FrontEnd& front_end)
    : front_end_(front_end), scratch_(Scratch::of_this_thread(front_end.tables_->transform)) {}

void FrameBatch::add(std::span<const float> clip, int frame, float* column) {
    const auto& p = front_end_.parameters();
    const std::int64_t size = std::ssize(clip);
    const std::int64_t first = std::int64_t{frame} * p.hop - p.n_fft / 2;
    if (first >= 0 && first + p.n_fft <= size) {
        frames_[count_] = clip.data() + first;
    } else {
        float* const padded = scratch_.padded.data() + count_ * static_cast<std::size_t>(p.n_fft);
        for (std::int64_t n = 0; n < p.n_fft; ++n) {
            std::int64_t at = std::abs(first + n);
            if (at >= size) at = 2 * (size - 1) - at;
            padded[n] = clip[static_cast<std::size_t>(at)];
        }
        frames_[count_] = padded;
    }
    columns_[count_] = column;
    if (++count_ == frames_.size()) flush();
}

void FrameBatch::flush() {
    if (count_ == 0) return;
    std::fill(frames_.begin() + static_cast<std::ptrdiff_t>(count_), frames_.end(), frames_[0]);  // lanes left over
    sound_kernels_of_this_machine().mel_columns(front_end_.tables_->transform, frames_.data(), static_cast<int>(count_),
                                                columns_.data(), scratch_.transform.data());
    count_ = 0;
}

namespace {

WindowScale extremes_of(std::span<const float* const> columns, std::size_t mels) {
    constexpr std::size_t kLanes = 16;  // independent minima and maxima, so that the compiler can use vectors
    std::array<float, kLanes> low;
    std::array<float, kLanes> high;
    low.fill(columns[0][0]);
    high.fill(columns[0][0]);
    const auto take = [&](float value, std::size_t lane) {
        low[lane] = value < low[lane] ? value : low[lane];
        high[lane] = value > high[lane] ? value : high[lane];
    };
    const std::size_t whole = mels / kLanes * kLanes;
    for (const float* const column : columns) {
        for (std::size_t mel = 0; mel < whole; mel += kLanes) {
            for (std::size_t lane = 0; lane < kLanes; ++lane) take(column[mel + lane], lane);
        }
        for (std::size_t mel = whole; mel < mels; ++mel) take(column[mel], mel - whole);
    }
    return {*std::ranges::min_element(low), *std::ranges::max_element(high)};
}

/// A clip's columns, computed and joined.
WindowScale columns_of_clip(const FrontEnd& front_end, std::span<const float> clip, Scale scale,
                            std::span<float> features) {
    const auto& p = front_end.parameters();
    if (clip.size() != static_cast<std::size_t>(p.window_samples()) || features.size() != p.feature_size()) {
        throw std::invalid_argument("FrontEnd::log_mel wants one window of samples and room for its features");
    }
    const auto mels = static_cast<std::size_t>(p.mels);
    const auto frames = static_cast<std::size_t>(p.frames());
    thread_local std::vector<float> columns;
    thread_local std::vector<const float*> pointers;
    columns.resize(mels * frames);
    pointers.resize(frames);
    FrameBatch batch(front_end);
    for (std::size_t frame = 0; frame < frames; ++frame) {
        batch.add(clip, static_cast<int>(frame), columns.data() + frame * mels);
        pointers[frame] = columns.data() + frame * mels;
    }
    batch.flush();
    return join_columns(pointers, mels, scale, features);
}

}  // namespace

void FrontEnd::log_mel(std::span<const float> clip, std::span<float> features) const {
    columns_of_clip(*this, clip, Scale::kDecibels, features);
}

WindowScale features_of_clip(const FrontEnd& front_end, std::span<const float> clip, std::span<float> features) {
    return columns_of_clip(front_end, clip, Scale::kMinMax, features);
}

WindowScale join_columns(std::span<const float* const> columns, std::size_t mels, Scale scale,
                         std::span<float> features) {
    WindowScale span{.lowest_db = 0, .highest_db = 1};
    if (scale == Scale::kMinMax) span = extremes_of(columns, mels);
    const float range = span.highest_db > span.lowest_db ? span.highest_db - span.lowest_db : 1;
    sound_kernels_of_this_machine().normalise(columns.data(), static_cast<int>(columns.size()), static_cast<int>(mels),
                                              span.lowest_db, range, features.data());
    return span;
}

}  // namespace chorus
