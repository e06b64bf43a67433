#include "trainer/recipe.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

namespace chorus {
namespace {

std::vector<std::vector<std::size_t>> rows_by_class(std::span<const std::uint8_t> targets, std::size_t classes,
                                                    std::span<const std::size_t> rows) {
    std::vector<std::vector<std::size_t>> members(classes + 1);  // the last: clips without a class
    for (const auto row : rows) {
        bool any = false;
        for (std::size_t c = 0; c < classes; ++c) {
            if (targets[row * classes + c] == 0) continue;
            members[c].push_back(row);
            any = true;
        }
        if (!any) members.back().push_back(row);
    }
    std::erase_if(members, [](const auto& of_class) { return of_class.empty(); });
    return members;
}

}  // namespace

double LearningRate::at(std::int64_t step, std::int64_t steps_an_epoch, int epochs) const {
    const double exact = static_cast<double>(step) / static_cast<double>(steps_an_epoch);
    const double epoch = schedule == Schedule::kCosineByEpoch ? std::floor(exact) : exact;
    double value = rate;
    if (schedule != Schedule::kConstant) value *= 0.5 * (1.0 + std::cos(std::numbers::pi * epoch / epochs));
    const double warm_up_steps = warm_up_epochs * static_cast<double>(steps_an_epoch);
    return value * (warm_up_steps > 0.0 ? std::min(1.0, static_cast<double>(step + 1) / warm_up_steps) : 1.0);
}

std::vector<double> repeat_factors(std::span<const std::uint8_t> targets, std::size_t classes,
                                   std::span<const std::size_t> rows) {
    constexpr double kShare = 0.1;
    std::vector<double> positives(classes);
    for (const auto row : rows)
        for (std::size_t c = 0; c < classes; ++c) positives[c] += targets[row * classes + c];
    std::vector<double> factors;
    for (const auto row : rows) {
        double factor = 1.0;
        for (std::size_t c = 0; c < classes; ++c)
            if (targets[row * classes + c] != 0)
                factor = std::max(factor, std::sqrt(kShare * static_cast<double>(rows.size()) / positives[c]));
        factors.push_back(factor);
    }
    return factors;
}

std::vector<std::size_t> draw_epoch(Sampling sampling, std::span<const std::uint8_t> targets, std::size_t classes,
                                    std::span<const std::size_t> rows, Random& random) {
    if (sampling == Sampling::kPlain) {
        auto order = random.permutation(rows.size());
        for (auto& row : order) row = rows[row];
        return order;
    }
    std::vector<std::size_t> drawn(rows.size());
    if (sampling == Sampling::kClassAware) {
        const auto members = rows_by_class(targets, classes, rows);
        for (auto& row : drawn) {
            const auto& of_class = members[random.below(members.size())];
            row = of_class[random.below(of_class.size())];
        }
        return drawn;
    }
    auto sums = repeat_factors(targets, classes, rows);
    std::partial_sum(sums.begin(), sums.end(), sums.begin());
    for (auto& row : drawn) {
        const auto found = std::upper_bound(sums.begin(), sums.end() - 1, random.uniform() * sums.back());
        row = rows[static_cast<std::size_t>(found - sums.begin())];
    }
    return drawn;
}

std::vector<float> positive_weights(ClassWeights weights, std::span<const int> positives, std::size_t clips,
                                    double beta, double most) {
    std::vector<float> values(positives.size(), 1.0F);
    if (weights == ClassWeights::kNone) return values;
    double sum = 0.0;
    int known = 0;
    for (std::size_t c = 0; c < values.size(); ++c) {
        const double n = positives[c];
        if (n == 0.0) continue;
        const double value = weights == ClassWeights::kInverseFrequency
                                 ? std::clamp((static_cast<double>(clips) - n) / n, 1.0 / most, most)
                                 : (1.0 - beta) / (1.0 - std::pow(beta, n));
        values[c] = static_cast<float>(value);
        sum += value;
        ++known;
    }
    if (weights == ClassWeights::kEffectiveNumber)
        for (std::size_t c = 0; c < values.size(); ++c)
            if (positives[c] > 0) values[c] *= static_cast<float>(known / sum);
    return values;
}

std::string to_string(Schedule schedule) {
    if (schedule == Schedule::kConstant) return "constant";
    return schedule == Schedule::kCosineByStep ? "cosine-by-step" : "cosine";
}
std::string to_string(Sampling sampling) {
    if (sampling == Sampling::kClassAware) return "class-aware";
    return sampling == Sampling::kBalanced ? "balanced" : "plain";
}
std::string to_string(ClassWeights weights) {
    if (weights == ClassWeights::kInverseFrequency) return "inverse-frequency";
    return weights == ClassWeights::kEffectiveNumber ? "effective-number" : "none";
}

}  // namespace chorus
