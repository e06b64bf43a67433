#include "model/polyphase.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <mutex>
#include <numbers>
#include <numeric>
#include <utility>
#include <vector>

namespace chorus {
namespace {

constexpr double kStopBandDb = 120;
constexpr double kTransition = 0.4;  // from 0.8 to 1.2 of the lower rate's Nyquist frequency
constexpr std::size_t kMostWeights = 256 * 1024;
constexpr int kTapsMultiple = 8;

/// Input samples to either side of an output that its filter must see, by Kaiser's formula.
int reach_of(int from_hz, int to_hz) {
    const double lowered = std::min(1.0, static_cast<double>(to_hz) / from_hz);
    const double taps = (kStopBandDb - 7.95) / (2.285 * kTransition * lowered * std::numbers::pi);
    const int half = kTapsMultiple / 2;
    return (static_cast<int>(taps / 2) / half + 1) * half;
}

/// The modified Bessel function of the first kind and order zero.
double bessel_i0(double x) {
    double sum = 1;
    double term = 1;
    for (int k = 1; term > 1e-18 * sum; ++k) {
        term *= x / (2 * k) * (x / (2 * k));
        sum += term;
    }
    return sum;
}

double sinc(double x) {
    return x == 0 ? 1 : std::sin(std::numbers::pi * x) / (std::numbers::pi * x);
}

}  // namespace

Polyphase::Polyphase(int from_hz, int to_hz) {
    const int divisor = std::gcd(from_hz, to_hz);
    const int from = from_hz / divisor;
    const int to = to_hz / divisor;
    const int reach = reach_of(from_hz, to_hz);
    filter_ = {.phases = to, .advance = from / to, .phase_advance = from % to, .taps = 2 * reach, .weights = nullptr};
    weights_ = AlignedFloats(static_cast<std::size_t>(to) * static_cast<std::size_t>(filter_.taps));
    filter_.weights = weights_.data();

    const double cut_off = std::min(1.0, static_cast<double>(to) / from);  // of the input's Nyquist frequency
    const double beta = 0.1102 * (kStopBandDb - 8.7);
    const double peak = bessel_i0(beta);
    std::vector<double> taps(static_cast<std::size_t>(filter_.taps));
    for (int phase = 0; phase < to; ++phase) {
        double sum = 0;
        for (int k = 0; k < filter_.taps; ++k) {
            const double t = k - reach + 1 - static_cast<double>(phase) / to;
            const double edge = t / reach;
            const double kaiser = std::abs(edge) >= 1 ? 0 : bessel_i0(beta * std::sqrt(1 - edge * edge)) / peak;
            sum += taps[static_cast<std::size_t>(k)] = sinc(cut_off * t) * kaiser;
        }
        float* const weights = weights_.data() + static_cast<std::size_t>(phase) * taps.size();
        for (std::size_t k = 0; k < taps.size(); ++k) weights[k] = static_cast<float>(taps[k] / sum);
    }
}

std::shared_ptr<const Polyphase> Polyphase::of(int from_hz, int to_hz) {
    const auto phases = static_cast<std::size_t>(to_hz / std::gcd(from_hz, to_hz));
    if (phases * static_cast<std::size_t>(2 * reach_of(from_hz, to_hz)) > kMostWeights) return nullptr;
    static std::mutex mutex;
    static std::map<std::pair<int, int>, std::weak_ptr<const Polyphase>> in_use;
    const std::lock_guard lock(mutex);
    auto& shared = in_use[{from_hz, to_hz}];
    auto found = shared.lock();
    if (!found) shared = found = std::make_shared<const Polyphase>(from_hz, to_hz);
    return found;
}

}  // namespace chorus
