#include "model/batch_norm.h"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "model/instruction_sets.h"
#include "model/norm_kernels.h"

namespace chorus {

namespace portable {
extern const NormKernels norm_kernels;
}
#ifdef CHORUS_X86
namespace avx2 {
extern const NormKernels norm_kernels;
}
namespace avx512 {
extern const NormKernels norm_kernels;
}
#endif

std::span<const NormKernels* const> usable_norm_kernels() {
    static const auto usable = [] {
        std::vector<const NormKernels*> found;
#ifdef CHORUS_X86
        if (machine_runs_avx512()) found.push_back(&avx512::norm_kernels);
        if (machine_runs_avx2()) found.push_back(&avx2::norm_kernels);
#endif
        found.push_back(&portable::norm_kernels);
        return found;
    }();
    return usable;
}

namespace {

constexpr long kPattern = 256;  // floats, at least: enough for vectors of any size
constexpr long kTogether = 32;  // patterns whose values are added up in float32
constexpr long kPiece = 8;      // such sums that a thread makes at once

const NormKernels& kernels() {
    static const NormKernels& fastest = *usable_norm_kernels().front();
    return fastest;
}

/// How values that lie channels last go through the kernels.
class Layout {
  public:
    explicit Layout(const torch::Tensor& values)
        : channels_(values.size(1)),
          count_(values.numel()),
          period_((kPattern + channels_ - 1) / channels_ * channels_) {}

    int period() const { return static_cast<int>(period_); }
    long values_of_a_channel() const { return count_ / channels_; }

    /// of: [channels].
    std::vector<float> repeat(const std::vector<float>& of) const {
        std::vector<float> repeated;
        while (static_cast<long>(repeated.size()) < period_) repeated.insert(repeated.end(), of.begin(), of.end());
        return repeated;
    }

    /// run(begin, count), by several threads.
    template <typename Run>
    void for_each_piece(const Run& run) const {
        const long size = period_ * kTogether * kPiece;
        at::parallel_for(0, (count_ + size - 1) / size, 1, [&](std::int64_t from, std::int64_t to) {
            for (auto piece = from; piece < to; ++piece) run(piece * size, std::min(size, count_ - piece * size));
        });
    }

    struct Sums {
        std::vector<double> first;  // [channels]
        std::vector<double> second;
    };

    /// add(begin, count, first, second) adds to [period] floats each; the sums over all, by the same tree whatever the
    /// number of threads.
    template <typename Add>
    Sums sum(const Add& add) const {
        const long size = period_ * kTogether * kPiece;
        const auto channels = static_cast<std::size_t>(channels_);
        std::vector<Sums> pieces(static_cast<std::size_t>((count_ + size - 1) / size),
                                 {std::vector<double>(channels), std::vector<double>(channels)});
        for_each_piece([&](long begin, long count) {
            auto& [first, second] = pieces[static_cast<std::size_t>(begin / size)];
            std::vector<float> few(static_cast<std::size_t>(2 * period_));
            for (long at = 0; at < count; at += period_ * kTogether) {
                std::ranges::fill(few, 0.0F);
                add(begin + at, std::min(period_ * kTogether, count - at), few.data(), few.data() + period_);
                for (std::size_t i = 0; i < static_cast<std::size_t>(period_); ++i) {
                    first[i % channels] += few[i];
                    second[i % channels] += few[static_cast<std::size_t>(period_) + i];
                }
            }
        });
        for (std::size_t i = 1; i < pieces.size(); ++i)
            for (std::size_t c = 0; c < channels; ++c) {
                pieces.front().first[c] += pieces[i].first[c];
                pieces.front().second[c] += pieces[i].second[c];
            }
        return std::move(pieces.front());
    }

  private:
    long channels_;
    long count_;
    long period_;
};

/// Of the whole batch, of those of this part.
void add_up(const BatchParts* parts, Layout::Sums& sums) {
    if (parts == nullptr) return;
    const auto all = parts->add_up(
        torch::stack({torch::tensor(sums.first, torch::kFloat64), torch::tensor(sums.second, torch::kFloat64)}));
    const auto channels = static_cast<std::ptrdiff_t>(sums.first.size());
    const auto* const values = all.data_ptr<double>();
    sums = {.first = {values, values + channels}, .second = {values + channels, values + 2 * channels}};
}

/// Moments of x out of those of x - shift, so that parts whose shifts differ can be added up: in float64, squares drown
/// nothing.
void take_back(std::vector<float>& shift, double n, Layout::Sums& moments) {
    for (std::size_t c = 0; c < shift.size(); ++c) {
        const double by = std::exchange(shift[c], 0.0F);
        moments.second[c] += by * (2.0 * moments.first[c] + by * n);
        moments.first[c] += by * n;
    }
}

std::vector<float> to_vector(const torch::Tensor& values) {
    const auto plain = values.contiguous();
    return {plain.data_ptr<float>(), plain.data_ptr<float>() + plain.numel()};
}

torch::Tensor to_tensor(const std::vector<float>& values) {
    return torch::tensor(values, torch::kFloat32);
}

/// The layer as scale and offset of a channel's values.
struct Affine {
    std::vector<float> scale;
    std::vector<float> offset;
};

Affine affine_of(const Layout& layout, const std::vector<float>& mean, const std::vector<float>& inverse_deviation,
                 const torch::Tensor& weight, const torch::Tensor& bias) {
    auto scale = to_vector(weight);
    auto offset = to_vector(bias);
    for (std::size_t c = 0; c < scale.size(); ++c) {
        scale[c] *= inverse_deviation[c];
        offset[c] -= mean[c] * scale[c];
    }
    return {.scale = layout.repeat(scale), .offset = layout.repeat(offset)};
}

class NormActivation : public torch::autograd::Function<NormActivation> {
  public:
    static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& input,
                                 const torch::Tensor& weight, const torch::Tensor& bias, torch::Tensor running_mean,
                                 torch::Tensor running_var, double momentum, std::int64_t activation,
                                 const BatchParts* parts) {
        const auto x = input.contiguous(at::MemoryFormat::ChannelsLast);
        const Layout layout(x);
        const auto* const values = x.data_ptr<float>();
        const auto channels = static_cast<std::size_t>(x.size(1));
        // Any value of a channel, so that squares don't drown what they differ by.
        std::vector<float> first(values, values + channels);
        const auto shift = layout.repeat(first);
        auto moments = layout.sum([&](long begin, long count, float* sums, float* squares) {
            kernels().moments(values + begin, count, layout.period(), shift.data(), sums, squares);
        });
        double n = static_cast<double>(layout.values_of_a_channel());
        if (parts != nullptr) {
            take_back(first, n, moments);
            add_up(parts, moments);
            n *= parts->count;
        }
        std::vector<float> mean(channels);
        std::vector<float> variance(channels);  // of a sample, as LibTorch keeps it
        std::vector<float> inverse_deviation(channels);
        for (std::size_t c = 0; c < channels; ++c) {
            const double shifted = moments.first[c] / n;
            const double spread = std::max(moments.second[c] / n - shifted * shifted, 0.0);
            mean[c] = static_cast<float>(shifted + first[c]);
            variance[c] = static_cast<float>(spread * n / std::max(n - 1.0, 1.0));
            inverse_deviation[c] = static_cast<float>(1.0 / std::sqrt(spread + kBatchNormEpsilon));
        }
        running_mean.lerp_(to_tensor(mean), momentum);
        running_var.lerp_(to_tensor(variance), momentum);

        const auto affine = affine_of(layout, mean, inverse_deviation, weight, bias);
        const NormLayer layer{.activation = static_cast<Activation>(activation),
                              .period = layout.period(),
                              .scale = affine.scale.data(),
                              .offset = affine.offset.data()};
        auto y = torch::empty_like(x);
        auto* const out = y.data_ptr<float>();
        layout.for_each_piece(
            [&](long begin, long count) { kernels().apply(layer, values + begin, count, out + begin); });
        context->save_for_backward({x, weight, bias, to_tensor(mean), to_tensor(inverse_deviation)});
        context->saved_data["activation"] = activation;
        context->saved_data["parts"] = reinterpret_cast<std::int64_t>(parts);
        return y;
    }

    static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                   const torch::autograd::variable_list& gradients) {
        const auto saved = context->get_saved_variables();
        const auto& x = saved[0];
        const auto dy = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
        const Layout layout(x);
        const auto mean = to_vector(saved[3]);
        const auto inverse_deviation = to_vector(saved[4]);
        const auto affine = affine_of(layout, mean, inverse_deviation, saved[1], saved[2]);
        const NormLayer layer{.activation = static_cast<Activation>(context->saved_data["activation"].toInt()),
                              .period = layout.period(),
                              .scale = affine.scale.data(),
                              .offset = affine.offset.data()};
        const auto* const values = x.data_ptr<float>();
        const auto* const slopes = dy.data_ptr<float>();
        const auto means = layout.repeat(mean);
        const auto own = layout.sum([&](long begin, long count, float* sums, float* products) {
            kernels().gradient_moments(layer, values + begin, slopes + begin, count, means.data(), sums, products);
        });

        // With s = weight / deviation, dx = s * (g - mean(g) - (x - mean(x)) * mean(g * (x - mean(x))) / deviation^2).
        const auto* const parts = reinterpret_cast<const BatchParts*>(context->saved_data["parts"].toInt());
        const double n = static_cast<double>(layout.values_of_a_channel()) * (parts == nullptr ? 1 : parts->count);
        auto moments = own;
        add_up(parts, moments);
        std::vector<float> slope(mean.size());
        std::vector<float> level(mean.size());
        std::vector<float> of_weight(mean.size());
        std::vector<float> of_bias(mean.size());
        for (std::size_t c = 0; c < mean.size(); ++c) {
            const double inverse = inverse_deviation[c];
            const double scale = affine.scale[c];
            const double by_deviation = moments.second[c] / n * inverse * inverse;
            slope[c] = static_cast<float>(-scale * by_deviation);
            level[c] = static_cast<float>(scale * (mean[c] * by_deviation - moments.first[c] / n));
            of_weight[c] = static_cast<float>(own.second[c] * inverse);
            of_bias[c] = static_cast<float>(own.first[c]);
        }
        const auto slope_of_x = layout.repeat(slope);
        const auto level_of_x = layout.repeat(level);
        auto dx = torch::empty_like(x);
        auto* const out = dx.data_ptr<float>();
        layout.for_each_piece([&](long begin, long count) {
            kernels().gradient(layer, values + begin, slopes + begin, count, slope_of_x.data(), level_of_x.data(),
                               out + begin);
        });
        return {dx, to_tensor(of_weight), to_tensor(of_bias), {}, {}, {}, {}, {}};
    }
};

}  // namespace

torch::Tensor normalise_and_activate(const torch::Tensor& input, const BatchNorm& norm, Activation activation) {
    return NormActivation::apply(input, norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.momentum,
                                 static_cast<std::int64_t>(activation), norm.parts);
}

}  // namespace chorus
