#pragma once

#include <optional>
#include <span>

namespace chorus {

/// Student's t: the probability that |T| is at least |t|. Right to 1e-10.
double two_sided_p(double t, int degrees_of_freedom);

/// Paired t-test of two series, one pair a seed: how likely so large a mean difference is by chance, where there is
/// none. Nothing for fewer than two pairs, or where all differences are the same.
std::optional<double> paired_p(std::span<const double> a, std::span<const double> b);

double mean_of(std::span<const double> values);
/// Of a sample (n - 1); nothing for fewer than two values.
std::optional<double> standard_deviation(std::span<const double> values);

}  // namespace chorus
