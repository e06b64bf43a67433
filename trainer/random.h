#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace chorus {

/// All chance in training comes from here, on one thread, so that a seed gives one result however many threads compute.
class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}

    /// In [0, 1).
    double uniform() { return static_cast<double>(engine_() >> 11) * 0x1.0p-53; }

    /// In [0, n).
    std::size_t below(std::size_t n) { return static_cast<std::size_t>(uniform() * static_cast<double>(n)); }

    double gamma(double shape) { return std::gamma_distribution<double>(shape, 1.0)(engine_); }

    double beta(double a, double b) {
        if (a == 1.0 && b == 1.0) return uniform();
        const double x = gamma(a);
        const double y = gamma(b);
        return x + y > 0.0 ? x / (x + y) : 0.5;
    }

    /// 0 .. n-1 in random order.
    std::vector<std::size_t> permutation(std::size_t n) {
        std::vector<std::size_t> order(n);
        for (std::size_t i = 0; i < n; ++i) {
            const auto j = below(i + 1);
            order[i] = order[j];
            order[j] = i;
        }
        return order;
    }

    /// As text; a generator restored from it goes on with the same draws.
    std::string state() const {
        std::ostringstream text;
        text << engine_;
        return text.str();
    }
    /// Throws std::runtime_error when it is no state.
    void restore(const std::string& state) {
        std::istringstream text(state);
        if (!(text >> engine_)) throw std::runtime_error("not the state of a random generator");
    }

  private:
    std::mt19937_64 engine_;
};

}  // namespace chorus
