#include <algorithm>
#include <numeric>
#include <stdexcept>

#include "model/front_end.h"
#include "model/mel_columns.h"
#include "model/resampler.h"

namespace chorus {
namespace {

/// Columns of interior frames by the position of their first sample. Holds any run of positions shorter than a window:
/// a position's slot is only taken again by one a whole window later.
class ColumnStore {
  public:
    ColumnStore(const FrontEndParameters& p, std::int64_t window_hop) : mels_(static_cast<std::size_t>(p.mels)) {
        grid_ = std::gcd(std::int64_t{p.hop}, window_hop);
        // Frames of two windows meet only where their starts differ by a multiple of the frames' hop.
        const auto window = std::int64_t{p.window_samples()};
        if (window_hop >= window || window_hop / grid_ * p.hop >= window) return;
        positions_.assign(static_cast<std::size_t>(window / grid_ + 1), -1);
        columns_.resize(positions_.size() * mels_);
    }

    struct Slot {
        std::span<float> column;
        bool filled;
    };

    /// Where the column of the frame at `position` belongs; an empty span where it isn't stored.
    Slot slot(std::int64_t position) {
        if (positions_.empty() || position % grid_ != 0) return {};
        const auto index = static_cast<std::size_t>(position / grid_) % positions_.size();
        const bool filled = positions_[index] == position;
        positions_[index] = position;
        return {.column = std::span(columns_).subspan(index * mels_, mels_), .filled = filled};
    }

  private:
    std::size_t mels_;
    std::int64_t grid_;
    std::vector<std::int64_t> positions_;
    std::vector<float> columns_;  // [positions, mels]
};

}  // namespace

struct FeatureStream::State {
    const FrontEnd& front_end;
    Resampler resampler;
    ColumnStore store;
    std::vector<float> samples;   // at the model's rate
    std::int64_t first = 0;       // position of samples[0]
    std::int64_t last_start = 0;  // of the latest window
    std::int64_t frames_computed = 0;
    std::vector<float> own;  // [frames, mels], columns that are not stored
    std::vector<const float*> columns;

    State(const FrontEnd& f, int source_rate_hz, std::int64_t window_hop)
        : front_end(f), resampler(source_rate_hz, f.parameters().sample_rate_hz), store(f.parameters(), window_hop) {
        own.resize(f.parameters().feature_size());
        columns.resize(static_cast<std::size_t>(f.parameters().frames()));
    }

    /// Moves the kept samples only when as many were forgotten, so that the work stays in proportion to the sound.
    void forget_before(std::int64_t start) {
        const auto forgotten = static_cast<std::size_t>(start - first);
        if (forgotten < samples.size() - forgotten) return;
        samples.erase(samples.begin(), samples.begin() + static_cast<std::ptrdiff_t>(forgotten));
        first = start;
    }

    const float* column(std::span<const float> clip, std::int64_t start, int frame, FrameBatch& batch) {
        const auto& p = front_end.parameters();
        const auto mels = static_cast<std::size_t>(p.mels);
        const std::int64_t in_clip = std::int64_t{frame} * p.hop - p.n_fft / 2;
        const bool interior = in_clip >= 0 && in_clip + p.n_fft <= p.window_samples();
        auto [place, filled] = interior ? store.slot(start + in_clip) : ColumnStore::Slot{};
        if (place.empty()) place = std::span(own).subspan(static_cast<std::size_t>(frame) * mels, mels);
        if (!filled) {
            batch.add(clip, frame, place.data());
            ++frames_computed;
        }
        return place.data();
    }
};

FeatureStream::FeatureStream(const FrontEnd& front_end, int source_rate_hz, std::int64_t window_hop) {
    if (window_hop < 1) throw std::invalid_argument("windows must start at least one sample apart");
    state_ = std::make_unique<State>(front_end, source_rate_hz, window_hop);
}

FeatureStream::~FeatureStream() = default;
FeatureStream::FeatureStream(FeatureStream&&) noexcept = default;

void FeatureStream::push(std::span<const float> samples) {
    state_->resampler.push(samples, state_->samples);
}

void FeatureStream::finish() {
    state_->resampler.finish(state_->samples);
}

std::int64_t FeatureStream::available() const {
    return state_->first + static_cast<std::int64_t>(state_->samples.size());
}

std::int64_t FeatureStream::frames_computed() const {
    return state_->frames_computed;
}

void FeatureStream::window(std::int64_t start, std::span<float> features) {
    auto& state = *state_;
    const auto& p = state.front_end.parameters();
    if (start < state.last_start || start + p.window_samples() > available()) {
        throw std::logic_error("FeatureStream::window: its sound is forgotten or not there yet");
    }
    if (features.size() != p.feature_size()) throw std::logic_error("FeatureStream::window: no room for the features");
    state.last_start = start;
    state.forget_before(start);
    const auto clip =
        std::span<const float>(state.samples)
            .subspan(static_cast<std::size_t>(start - state.first), static_cast<std::size_t>(p.window_samples()));
    FrameBatch batch(state.front_end);
    for (int frame = 0; frame < p.frames(); ++frame) {
        state.columns[static_cast<std::size_t>(frame)] = state.column(clip, start, frame, batch);
    }
    batch.flush();
    join_columns(state.columns, static_cast<std::size_t>(p.mels), Scale::kMinMax, features);
}

}  // namespace chorus
