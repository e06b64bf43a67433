#include "trainer/training.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <numbers>
#include <stdexcept>

#include "model/mobilenet_v3.h"

namespace chorus {
namespace {

using Clock = std::chrono::steady_clock;

struct Batch {
    torch::Tensor input;    // [batch, 1, mel, frame]
    torch::Tensor targets;  // [batch, classes]
};

class BatchMaker {
  public:
    explicit BatchMaker(const TrainingData& data) : data_(data) {}

    /// As the network meets it in service.
    Batch plain(std::span<const std::size_t> rows) const {
        return make(rows, [this](std::size_t, std::size_t row, std::span<float> out) { data_.features.get(row, out); });
    }

    /// All draws come first and in order, so that threads can't change them.
    Batch augmented(std::span<const std::size_t> rows, const AugmentationParameters& parameters, Random& random) const {
        const int mels = data_.features.mels();
        const int frames = data_.features.frames();
        std::vector<Augmentation> draws;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (i > 0 && parameters.scope == AugmentationScope::kBatch)
                draws.push_back(draws.front());
            else
                draws.push_back(draw_augmentation(parameters, mels, frames, random));
        }
        return make(rows, [&](std::size_t index, std::size_t row, std::span<float> out) {
            thread_local std::vector<float> window;
            window.resize(out.size());
            data_.features.get(row, window);
            augment(draws[index], mels, frames, window, out);
        });
    }

  private:
    template <typename Fill>
    Batch make(std::span<const std::size_t> rows, const Fill& fill) const {
        const std::int64_t mels = data_.features.mels();
        const std::int64_t frames = data_.features.frames();
        const auto size = static_cast<std::int64_t>(rows.size());
        const auto classes = static_cast<std::int64_t>(data_.classes);
        Batch batch{.input = torch::empty({size, 1, mels, frames}), .targets = torch::empty({size, classes})};
        auto* input = batch.input.data_ptr<float>();
        auto* targets = batch.targets.data_ptr<float>();
        at::parallel_for(0, size, 1, [&](std::int64_t begin, std::int64_t end) {
            for (auto i = begin; i < end; ++i) {
                const auto row = rows[static_cast<std::size_t>(i)];
                fill(static_cast<std::size_t>(i), row,
                     std::span(input + i * mels * frames, static_cast<std::size_t>(mels * frames)));
                const auto labels = data_.targets.subspan(row * data_.classes, data_.classes);
                std::copy(labels.begin(), labels.end(), targets + i * classes);
            }
        });
        return batch;
    }

    const TrainingData& data_;
};

torch::Tensor loss_of_step(MobileNetV3& network, const Batch& batch, const MixingParameters& parameters,
                           Random& random) {
    const auto size = batch.input.size(0);
    const auto loss = [](const torch::Tensor& logits, const torch::Tensor& targets) {
        return torch::binary_cross_entropy_with_logits(logits, targets);
    };
    const auto mixing = draw_mixing(parameters.mixing, random);
    switch (mixing) {
        case Mixing::kMixup: {
            const auto mix = draw_pair_mix(parameters, mixing, size, batch.input.size(2), random);
            return loss(network->forward(mix_inputs(batch.input, mix, parameters.semantics)),
                        mix_targets(batch.targets, mix));
        }
        case Mixing::kManifoldMixup: {
            const auto mix = draw_pair_mix(parameters, mixing, size, batch.input.size(2), random);
            return loss(network->classify(mix_embeddings(network->embed(batch.input), mix)),
                        mix_targets(batch.targets, mix));
        }
        case Mixing::kMultiMix: {
            const auto weights = draw_dirichlet(size, size, parameters.dirichlet_alpha, random);
            return loss(network->classify(weights.matmul(network->embed(batch.input))), weights.matmul(batch.targets));
        }
        default:
            return loss(network->forward(batch.input), batch.targets);
    }
}

ScoreTable score_rows(MobileNetV3& network, const TrainingData& data, std::span<const std::size_t> rows,
                      std::size_t batch) {
    const torch::NoGradGuard no_grad;
    const BatchMaker batches(data);
    ScoreTable table{.classes = data.classes, .scores = {}, .targets = {}};
    network->eval();
    for (std::size_t at = 0; at < rows.size(); at += batch) {
        const auto part = rows.subspan(at, std::min(batch, rows.size() - at));
        const auto scores = network->forward(batches.plain(part).input).sigmoid().contiguous();
        table.scores.insert(table.scores.end(), scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel());
        for (const auto row : part) {
            const auto labels = data.targets.subspan(row * data.classes, data.classes);
            table.targets.insert(table.targets.end(), labels.begin(), labels.end());
        }
    }
    network->train();
    return table;
}

/// Convolutions follow their weights' layout: on the CPU a step with channels last takes two thirds of the time.
void use_channels_last(MobileNetV3& network) {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network->parameters())
        if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
}

void set_learning_rate(torch::optim::AdamW& optimiser, double rate) {
    for (auto& group : optimiser.param_groups()) static_cast<torch::optim::AdamWOptions&>(group.options()).lr(rate);
}

}  // namespace

void validate(const TrainingOptions& options) {
    const auto require = [](bool holds, std::string_view what) {
        if (!holds) throw std::invalid_argument(std::string(what));
    };
    require(options.epochs >= 1 && options.epochs <= 100'000, "epochs must be 1 to 100000");
    require(options.batch >= 2 && options.batch <= 65'536, "batch must be 2 to 65536");
    require(options.learning_rate > 0.0 && options.learning_rate <= 10.0, "learning rate must be above 0, at most 10");
    require(options.weight_decay >= 0.0 && options.weight_decay <= 10.0, "weight decay must be 0 to 10");
    require(options.batch_norm_momentum > 0.0 && options.batch_norm_momentum <= 1.0,
            "batch-norm momentum must be above 0, at most 1");
    require(options.threads >= 1 && options.threads <= 1024, "threads must be 1 to 1024");
    require(options.mixing.mixup_alpha > 0.0 && options.mixing.dirichlet_alpha > 0.0,
            "mixing's alphas must be above 0");
}

TrainedNetwork train(const TrainingData& data, const TrainingOptions& options, const OnTrainingProgress& on_progress) {
    validate(options);
    if (data.training.size() < 2)
        throw std::runtime_error(fmt::format("{} clips to train on, at least 2 are needed", data.training.size()));
    at::set_num_threads(options.threads);
    torch::manual_seed(options.seed);  // the network's initial weights
    Random random(options.seed);

    MobileNetV3 network(MobileNetOptions{.architecture = options.architecture,
                                         .classes = static_cast<int>(data.classes),
                                         .batch_norm_momentum = options.batch_norm_momentum});
    use_channels_last(network);
    network->train();
    torch::optim::AdamW optimiser(network->parameters(),
                                  torch::optim::AdamWOptions(options.learning_rate).weight_decay(options.weight_decay));

    const auto batch_size = std::min(static_cast<std::size_t>(options.batch), data.training.size());
    const auto steps = data.training.size() / batch_size;
    const BatchMaker batches(data);
    TrainedNetwork trained;
    TrainingProgress progress{.samples_done = 0,
                              .samples_in_all = steps * batch_size * static_cast<std::size_t>(options.epochs),
                              .loss = 0.0,
                              .mean_average_precision = std::nullopt};
    double best = -1.0;
    for (int epoch = 0; epoch < options.epochs; ++epoch) {
        set_learning_rate(optimiser,
                          options.learning_rate * 0.5 * (1.0 + std::cos(std::numbers::pi * epoch / options.epochs)));
        auto order = random.permutation(data.training.size());
        for (auto& row : order) row = data.training[row];

        const auto began = Clock::now();
        double loss_sum = 0.0;
        for (std::size_t step = 0; step < steps; ++step) {
            const auto rows = std::span(order).subspan(step * batch_size, batch_size);
            const auto batch = batches.augmented(rows, options.augmentation, random);
            optimiser.zero_grad();
            const auto loss = loss_of_step(network, batch, options.mixing, random);
            loss.backward();
            optimiser.step();

            progress.loss = loss.item<double>();
            if (!std::isfinite(progress.loss))
                throw std::runtime_error(
                    fmt::format("the loss is no number any more in epoch {}: try a lower learning rate", epoch + 1));
            loss_sum += progress.loss;
            progress.samples_done += batch_size;
            if (on_progress) on_progress(progress);
        }
        trained.seconds_in_steps += std::chrono::duration<double>(Clock::now() - began).count();

        EpochReport report{.epoch = epoch + 1,
                           .loss = loss_sum / static_cast<double>(steps),
                           .validation_mean_average_precision = std::nullopt};
        if (!data.validation.empty()) {
            report.validation_mean_average_precision =
                mean_average_precision(score_rows(network, data, data.validation, batch_size));
            progress.mean_average_precision = report.validation_mean_average_precision;
        }
        if (report.validation_mean_average_precision.value_or(0.0) >= best) {
            best = report.validation_mean_average_precision.value_or(0.0);
            trained.best_epoch = report.epoch;
            trained.tensors = store_weights(network, options.precision);
        }
        trained.epochs.push_back(report);
    }
    trained.samples = progress.samples_done;
    return trained;
}

}  // namespace chorus
