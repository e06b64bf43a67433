#include "daemon/sound_memory.h"

#include <algorithm>
#include <cmath>

namespace chorus {
namespace {

std::int16_t to_16_bit(float sample) {
    return static_cast<std::int16_t>(std::lround(std::clamp(sample * 32'768.0F, -32'768.0F, 32'767.0F)));
}

bool follows(const Sound& next, const Sound& piece) {
    return next.first_sample == piece.end_sample() && next.sample_rate_hz == piece.sample_rate_hz;
}

}  // namespace

void SoundMemory::push(int channel, std::int64_t first_sample, int sample_rate_hz, std::span<const float> samples) {
    const auto number = static_cast<std::size_t>(channel);
    const std::lock_guard lock(mutex_);
    if (channels_.size() <= number) channels_.resize(number + 1);
    auto& pieces = channels_[number];
    Sound next{.first_sample = first_sample, .sample_rate_hz = sample_rate_hz, .samples = {}};
    const auto second = static_cast<std::size_t>(sample_rate_hz);
    if (pieces.empty() || !follows(next, pieces.back()) || pieces.back().samples.size() >= second) {
        next.samples.reserve(std::max(second, samples.size()));
        pieces.push_back(std::move(next));
    }
    auto& last = pieces.back().samples;
    std::transform(samples.begin(), samples.end(), std::back_inserter(last), to_16_bit);

    std::chrono::duration<double> held{0};
    for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) {
        held += std::chrono::duration<double>(static_cast<double>(piece->samples.size()) / piece->sample_rate_hz);
        if (held < length_) continue;
        pieces.erase(pieces.begin(), std::prev(piece.base()));
        break;
    }
}

void SoundMemory::set_length(std::chrono::milliseconds length) {
    const std::lock_guard lock(mutex_);
    length_ = length;
}

Sound SoundMemory::cut(int channel, std::int64_t first, std::int64_t anchor, std::int64_t end) const {
    const auto number = static_cast<std::size_t>(channel);
    const std::lock_guard lock(mutex_);
    if (channels_.size() <= number) return {};
    const auto& pieces = channels_[number];
    // An index occurs twice after a source has begun anew: the later one is meant.
    const auto held = std::find_if(pieces.rbegin(), pieces.rend(), [&](const Sound& piece) {
        return piece.first_sample <= anchor && anchor < piece.end_sample();
    });
    if (held == pieces.rend()) return {};
    auto from = std::prev(held.base());
    auto to = held.base();
    while (from != pieces.begin() && from->first_sample > first && follows(*from, *std::prev(from))) --from;
    while (to != pieces.end() && std::prev(to)->end_sample() < end && follows(*to, *std::prev(to))) ++to;

    Sound sound{
        .first_sample = std::max(first, from->first_sample), .sample_rate_hz = held->sample_rate_hz, .samples = {}};
    for (auto piece = from; piece != to; ++piece) {
        const auto begin = std::max(sound.first_sample, piece->first_sample) - piece->first_sample;
        const auto stop = std::min(end, piece->end_sample()) - piece->first_sample;
        if (begin >= stop) continue;
        sound.samples.insert(sound.samples.end(), piece->samples.begin() + begin, piece->samples.begin() + stop);
    }
    return sound;
}

}  // namespace chorus
