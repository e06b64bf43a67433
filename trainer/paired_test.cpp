#include "trainer/paired_test.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

namespace chorus {
namespace {

/// The continued fraction of the incomplete beta function by Lentz's method (Numerical Recipes, 6.4); it converges fast
/// for x < (a + 1) / (a + b + 2).
double beta_fraction(double a, double b, double x) {
    constexpr int kMostSteps = 10'000;
    constexpr double kTiny = 1e-300;
    const auto nonzero = [](double value) { return std::abs(value) < kTiny ? kTiny : value; };
    double c = 1.0;
    double d = 1.0 / nonzero(1.0 - (a + b) * x / (a + 1.0));
    double fraction = d;
    for (int m = 1; m <= kMostSteps; ++m) {
        const double even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m));
        d = 1.0 / nonzero(1.0 + even * d);
        c = nonzero(1.0 + even / c);
        fraction *= d * c;
        const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0));
        d = 1.0 / nonzero(1.0 + odd * d);
        c = nonzero(1.0 + odd / c);
        fraction *= d * c;
        if (std::abs(d * c - 1.0) < std::numeric_limits<double>::epsilon()) break;
    }
    return fraction;
}

/// Regularised, I_x(a, b).
double incomplete_beta(double a, double b, double x) {
    if (x <= 0.0) return 0.0;
    if (x >= 1.0) return 1.0;
    const double front =
        std::exp(std::lgamma(a + b) - std::lgamma(a) - std::lgamma(b) + a * std::log(x) + b * std::log1p(-x));
    if (x < (a + 1.0) / (a + b + 2.0)) return front * beta_fraction(a, b, x) / a;
    return 1.0 - front * beta_fraction(b, a, 1.0 - x) / b;
}

}  // namespace

double two_sided_p(double t, int degrees_of_freedom) {
    const double n = degrees_of_freedom;
    return incomplete_beta(n / 2.0, 0.5, n / (n + t * t));
}

double mean_of(std::span<const double> values) {
    return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

std::optional<double> standard_deviation(std::span<const double> values) {
    if (values.size() < 2) return std::nullopt;
    const double mean = mean_of(values);
    double sum = 0.0;
    for (const double value : values) sum += (value - mean) * (value - mean);
    return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

std::optional<double> paired_p(std::span<const double> a, std::span<const double> b) {
    std::vector<double> differences;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i) differences.push_back(a[i] - b[i]);
    const auto deviation = standard_deviation(differences);
    // Equal differences that aren't quite so by rounding would seem to be beyond all doubt.
    constexpr double kRounding = 1e-12;
    if (!deviation || *deviation < kRounding) return std::nullopt;
    const auto pairs = static_cast<double>(differences.size());
    return two_sided_p(mean_of(differences) / (*deviation / std::sqrt(pairs)), static_cast<int>(pairs) - 1);
}

}  // namespace chorus
