#include "trainer/training.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <utility>

#include "model/mobilenet_v3.h"
#include "model/torch_device.h"
#include "trainer/autocast.h"
#include "trainer/batches.h"
#include "trainer/checkpoint.h"
#include "trainer/exchange.h"
#include "trainer/mixed_forward.h"
#include "trainer/optimiser.h"

namespace chorus {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) {
    return std::chrono::duration<double>(Clock::now() - begin).count();
}

ScoreTable score_rows(MobileNetV3& network, const TrainingData& data, std::span<const std::size_t> rows,
                      std::size_t batch, const BatchMaker& batches, Freeze freeze) {
    const torch::NoGradGuard no_grad;
    ScoreTable table{.classes = data.classes, .scores = {}, .targets = {}};
    const bool was_training = network->is_training();
    network->eval();
    for (std::size_t at = 0; at < rows.size(); at += batch) {
        const auto part = rows.subspan(at, std::min(batch, rows.size() - at));
        const auto input = (freeze == Freeze::kEmbeddings ? batches.embedded(part) : batches.plain(part)).input;
        const auto scores = network->classify(embed(network, input, freeze)).sigmoid().to(torch::kCPU).contiguous();
        table.scores.insert(table.scores.end(), scores.data_ptr<float>(), scores.data_ptr<float>() + scores.numel());
        for (const auto row : part) {
            const auto labels = data.targets.subspan(row * data.classes, data.classes);
            table.targets.insert(table.targets.end(), labels.begin(), labels.end());
        }
    }
    network->train(was_training);
    return table;
}

MobileNetV3 make_network(const TrainingData& data, const TrainingOptions& options, torch::Device device) {
    MobileNetV3 network(MobileNetOptions{.architecture = options.architecture,
                                         .classes = static_cast<int>(data.classes),
                                         .batch_norm_momentum = options.batch_norm_momentum});
    if (data.beginning != nullptr) load_weights(network, *data.beginning);
    // Convolutions follow their weights' layout: on the CPU a step with channels last takes two thirds of the time.
    const torch::NoGradGuard no_grad;
    for (auto& parameter : network->parameters())
        if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
    network->to(device);
    network->train(options.freeze == Freeze::kNothing);
    if (options.freeze != Freeze::kNothing)
        for (const auto& item : network->named_parameters())
            item.value().set_requires_grad(item.key().starts_with("head."));
    return network;
}

torch::Device find_training_device(const TrainingOptions& options, const ProcessGroup& processes) {
    const auto device = find_device(options.device, processes.local_rank());
    if (device.is_cpu() && options.autocast == Autocast::kFloat16)
        throw std::invalid_argument("autocast to float16 needs a GPU; bfloat16 doesn't");
    forbid_tensor_float_32();
    return device;
}

/// What one process would be told that had the batches of all.
TrainingOptions as_of_one(TrainingOptions options, const ProcessGroup& processes) {
    options.batch *= processes.size();
    options.mixing.multimix_samples *= processes.size();
    return options;
}

/// A step's rows: where there are fewer clips, as many as all processes have the same number of.
std::size_t batch_size_of(const TrainingData& data, const TrainingOptions& options, const ProcessGroup& processes) {
    const auto size = static_cast<std::size_t>(processes.size());
    const auto clips = data.training.size() / size * size;
    return std::min(static_cast<std::size_t>(options.batch) * size, clips);
}

/// The front-end, and of the sound which dB each window reaches, which hardly another has.
std::string fingerprint_of(const FeatureStore& features) {
    std::vector<WindowScale> scales;
    for (std::size_t row = 0; row < features.size(); ++row) scales.push_back(features.scale(row));
    const auto& p = features.front_end();
    return fmt::format("{} {} {} {} {} {} {} {} {}", p.sample_rate_hz, p.window_seconds, p.n_fft, p.hop, p.mels,
                       p.f_min_hz, p.f_max_hz, p.log_floor, sha256_hex(std::as_bytes(std::span(scales))));
}

/// Weights drawn by chance: another kind of processor may round them otherwise.
std::string fingerprint_of(const MobileNetV3& network) {
    std::string text;
    for (const auto& [name, tensor] : store_weights(network, TensorType::kFloat32)) text += sha256_hex(tensor.bytes);
    return sha256_hex(std::as_bytes(std::span(text)));
}

/// All that a checkpoint's training must share with this one.
std::string fingerprint_of(const TrainingData& data, const TrainingOptions& options) {
    std::string text = describe(options).dump() + sha256_hex(std::as_bytes(data.targets));
    for (const auto rows : {data.training, data.validation}) text += sha256_hex(std::as_bytes(rows));
    text += sha256_hex(std::as_bytes(data.soft_targets));
    if (data.beginning != nullptr)
        for (const auto& [name, tensor] : *data.beginning) text += name + sha256_hex(tensor.bytes);
    text += fmt::format("{} {}", data.classes, fingerprint_of(data.features));
    if (data.background != nullptr) text += fingerprint_of(*data.background);
    return sha256_hex(std::as_bytes(std::span(text)));
}

class Training {
  public:
    Training(const TrainingData& data, const TrainingOptions& options, const OnTrainingProgress& on_progress,
             const Persistence& persistence, const ProcessGroup& processes)
        : data_(data),
          options_(options),
          on_progress_(on_progress),
          persistence_(persistence),
          processes_(processes),
          device_(find_training_device(options, processes)),
          batches_(data, device_),
          random_(options.seed),
          network_(make_network(data, options, device_)),
          average_(options.weight_average > 0.0 ? make_network(data, options, device_) : nullptr),
          optimiser_(parameter_groups(network_, options), torch::optim::AdamWOptions(options.learning_rate.rate)),
          batch_size_(batch_size_of(data, options, processes)),
          steps_(static_cast<std::int64_t>(data.training.size() / batch_size_)) {
        if (options.class_weights != ClassWeights::kNone) weigh_classes();
        if (average_) load_weights(average_, store_weights(network_, TensorType::kFloat32));
        synchronise_batch_norm(network_, processes);
        at_.fingerprint = fingerprint_of(data, as_of_one(options, processes));
        if (!processes.is_alone())
            require_same_everywhere(fmt::format("{} {} {} {}", at_.fingerprint, persistence.resume != Resume::kNever,
                                                c10::DeviceTypeName(device_.type()), fingerprint_of(network_)));
        progress_.samples_in_all = static_cast<std::size_t>(steps_ * options.epochs) * batch_size_;
        if (persistence.resume != Resume::kNever) resume();
    }

    TrainedNetwork run() {
        for (; at_.epoch < options_.epochs; ++at_.epoch) {
            if (at_.order.empty()) {
                at_.order = draw_epoch(options_.sampling, data_.targets, data_.classes, data_.training, random_);
                at_.step = 0;
                at_.loss_sum = 0.0;
            }
            while (at_.step < steps_) {
                const auto began = Clock::now();
                step();
                at_.trained.seconds_in_steps += seconds_since(began);
                if (on_progress_) on_progress_(progress_);
                keep_if_due();
            }
            finish_epoch();
            at_.order.clear();
        }
        if (at_.trained.epochs.empty()) at_.trained.tensors = store_weights(network_, options_.precision);
        processes_.wait_for_all("the end of the training");  // and not for what the leader alone does with it
        return std::move(at_.trained);
    }

  private:
    void require_same_everywhere(const std::string& what_counts) {
        std::optional<std::string> leaders = what_counts;
        processes_.share(leaders, "the beginning of the training");
        if (leaders != what_counts)
            throw std::runtime_error(
                fmt::format("rank {} has other options or data, another kind of processor, or a GPU where rank 0 has "
                            "none: all need the same",
                            processes_.rank()));
    }

    void weigh_classes() {
        std::vector<int> positives(data_.classes);
        for (const auto row : data_.training)
            for (std::size_t c = 0; c < positives.size(); ++c) positives[c] += data_.targets[row * data_.classes + c];
        class_weights_ = torch::tensor(positive_weights(options_.class_weights, positives, data_.training.size(),
                                                        options_.effective_number_beta, options_.largest_class_weight),
                                       device_);
    }

    void step() {
        const auto done = at_.epoch * steps_ + at_.step;
        for (auto& group : optimiser_.param_groups())
            static_cast<torch::optim::AdamWOptions&>(group.options())
                .lr(options_.learning_rate.at(done, steps_, options_.epochs));
        const auto rows = std::span(at_.order).subspan(static_cast<std::size_t>(at_.step) * batch_size_, batch_size_);
        const auto own = processes_.own_of(rows.size());
        const auto batch = options_.freeze == Freeze::kEmbeddings
                               ? batches_.embedded(rows.subspan(own.begin, own.size))
                               : batches_.augmented(rows, own, options_.augmentation, random_);
        const auto mixing = mixes_in(options_.mixing, at_.epoch, options_.epochs)
                                ? draw_mixing(options_.mixing, random_)
                                : Mixing::kNone;
        network_->zero_grad();  // the optimiser has not all of its parameters
        const auto [logits, targets] = mixed_forward(network_, batch, options_, processes_, mixing, random_);
        auto loss = loss_of(options_.loss, logits, targets, class_weights_);
        const bool scaled = options_.autocast == Autocast::kFloat16;
        (scaled ? loss * loss_scale_.scale() : loss).backward();
        loss = loss.detach();
        average_over_processes(loss);
        if (!scaled || loss_scale_.unscale(gradients())) {
            if (options_.clip_norm > 0.0) torch::nn::utils::clip_grad_norm_(network_->parameters(), options_.clip_norm);
            optimiser_.step();
            if (average_) follow(done);
        }

        progress_.loss = loss.item<double>();
        if (!std::isfinite(progress_.loss))
            throw std::runtime_error(
                fmt::format("the loss is no number any more in epoch {}: try a lower learning rate", at_.epoch + 1));
        at_.loss_sum += progress_.loss;
        at_.trained.samples += batch_size_;
        progress_.samples_done = at_.trained.samples;
        ++at_.step;
    }

    std::vector<torch::Tensor> gradients() const {
        std::vector<torch::Tensor> gradients;
        for (const auto& parameter : network_->parameters())
            if (parameter.grad().defined()) gradients.push_back(parameter.grad());
        return gradients;
    }

    /// Gradients, the loss and whether any process is to stop, in one exchange: the mean over equal parts of a batch is
    /// the whole batch's.
    void average_over_processes(torch::Tensor& loss) {
        if (processes_.is_alone()) return;
        auto values = gradients();
        values.push_back(loss);
        values.push_back(torch::full({1}, is_asked_to_stop() ? 1.0F : 0.0F, device_));
        processes_.average(values, fmt::format("the gradients of epoch {}, step {}", at_.epoch + 1, at_.step + 1));
        some_stop_ = values.back().item<float>() > 0.0F;
    }

    bool is_asked_to_stop() const { return persistence_.must_stop && persistence_.must_stop(); }

    /// Early on the average follows faster, so that the random start is soon forgotten.
    void follow(std::int64_t done) {
        const torch::NoGradGuard no_grad;
        const double count = static_cast<double>(done);
        const double decay = std::min(options_.weight_average, (1.0 + count) / (10.0 + count));
        const auto blend = [&](const auto& averages, const auto& values) {
            for (const auto& item : values) {
                auto average = averages[item.key()];
                if (average.is_floating_point())
                    average.lerp_(item.value(), 1.0 - decay);
                else
                    average.copy_(item.value());
            }
        };
        blend(average_->named_parameters(), network_->named_parameters());
        blend(average_->named_buffers(), network_->named_buffers());
    }

    void finish_epoch() {
        auto& judged = average_ ? average_ : network_;
        EpochReport report{.epoch = at_.epoch + 1,
                           .loss = at_.loss_sum / static_cast<double>(steps_),
                           .validation_mean_average_precision = std::nullopt};
        if (!data_.validation.empty()) {
            report.validation_mean_average_precision = mean_average_precision(score_rows(
                judged, data_, data_.validation, processes_.own_of(batch_size_).size, batches_, options_.freeze));
            progress_.mean_average_precision = report.validation_mean_average_precision;
        }
        const double quality = report.validation_mean_average_precision.value_or(0.0);
        if (quality >= at_.best) {
            at_.best = quality;
            at_.trained.best_epoch = report.epoch;
            at_.trained.tensors = store_weights(judged, options_.precision);
        }
        at_.trained.epochs.push_back(report);
    }

    void keep_if_due() {
        const bool stop = processes_.is_alone() ? is_asked_to_stop() : some_stop_;
        if (!stop && seconds_since(kept_) < persistence_.interval_seconds) return;
        if (processes_.leads() && !persistence_.checkpoint.empty()) {
            at_.random = random_.state();
            at_.network = store_weights(network_, TensorType::kFloat32);
            if (average_) at_.average = store_weights(average_, TensorType::kFloat32);
            at_.optimiser = store_optimiser(network_, optimiser_);
            at_.loss_scale = loss_scale_.scale();
            at_.loss_scale_steps = loss_scale_.steps();
            write_checkpoint(persistence_.checkpoint, at_);
            kept_ = Clock::now();
        }
        if (!stop) return;
        processes_.wait_for_all("the leader's checkpoint");  // whoever starts them kills the rest when one has ended
        throw Interrupted(fmt::format("stopped in epoch {} of {}", at_.epoch + 1, options_.epochs));
    }

    /// Nothing where there is none, or none that is wanted.
    std::optional<Checkpoint> find_checkpoint() {
        try {
            auto kept = read_checkpoint(persistence_.checkpoint, processes_);
            if (kept && kept->fingerprint != at_.fingerprint)
                throw std::runtime_error(
                    fmt::format("{}: is of a training with other options or data", persistence_.checkpoint.string()));
            return kept;
        } catch (const std::runtime_error& error) {
            if (persistence_.resume == Resume::kAlways) throw;
            fmt::print(stderr, "{}; the training begins at its beginning\n", error.what());
            return std::nullopt;
        }
    }

    void resume() {
        auto kept = find_checkpoint();
        if (!kept) return;
        try {
            load_weights(network_, kept->network);
            if (average_) load_weights(average_, kept->average);
            load_optimiser(kept->optimiser, network_, optimiser_);
            random_.restore(kept->random);
            loss_scale_.restore(kept->loss_scale, kept->loss_scale_steps);
            if (kept->epoch >= options_.epochs || kept->step > steps_ || kept->order.size() != data_.training.size())
                throw std::runtime_error("stands outside of this training");
        } catch (const std::exception& error) {
            throw std::runtime_error(fmt::format("{}: {}", persistence_.checkpoint.string(), error.what()));
        }
        at_ = std::move(*kept);
        progress_.samples_done = at_.trained.samples;
        if (!at_.trained.epochs.empty())
            progress_.mean_average_precision = at_.trained.epochs.back().validation_mean_average_precision;
    }

    const TrainingData& data_;
    const TrainingOptions& options_;
    const OnTrainingProgress& on_progress_;
    const Persistence& persistence_;
    const ProcessGroup& processes_;
    torch::Device device_;
    BatchMaker batches_;
    Random random_;
    MobileNetV3 network_;
    MobileNetV3 average_;
    torch::optim::AdamW optimiser_;
    LossScale loss_scale_;    // of float16 alone
    bool some_stop_ = false;  // of several processes, after this step
    std::size_t batch_size_;  // of all processes together
    std::int64_t steps_;      // an epoch
    torch::Tensor class_weights_;
    TrainingProgress progress_;
    Checkpoint at_;
    Clock::time_point kept_ = Clock::now();
};

}  // namespace

void require_device(const TrainingOptions& options, const ProcessGroup& processes) {
    find_training_device(options, processes);
}

TrainedNetwork train(const TrainingData& data, const TrainingOptions& options, const OnTrainingProgress& on_progress,
                     const Persistence& persistence, const ProcessGroup& processes) {
    validate(options);
    const auto fewest = std::max(std::size_t{2}, static_cast<std::size_t>(processes.size()));
    if (data.training.size() < fewest)
        throw std::runtime_error(
            fmt::format("{} clips to train on, at least {} are needed", data.training.size(), fewest));
    at::set_num_threads(options.threads);
    torch::manual_seed(options.seed);  // the network's initial weights
    try {
        return Training(data, options, on_progress, persistence, processes).run();
    } catch (const c10::Error& error) {  // a GPU's, with a trace for LibTorch's own developers
        throw std::runtime_error(first_line(error));
    }
}

}  // namespace chorus
