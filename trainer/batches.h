#pragma once
// Rows of a feature store as tensors. Includes LibTorch: only for .cpp files.

#include <torch/torch.h>

#include <cmath>

#include "trainer/training.h"

namespace chorus {

struct Batch {
    torch::Tensor input;    // [batch, 1, mel, frame], or of embeddings [batch, embedding size]
    torch::Tensor targets;  // [batch, classes]
};

class BatchMaker {
  public:
    /// Batches come to lie in the device's memory.
    BatchMaker(const TrainingData& data, torch::Device device) : data_(data), device_(device) {}

    /// As the network meets it in service.
    Batch plain(std::span<const std::size_t> rows) const {
        return make(rows, {1, data_.features.mels(), data_.features.frames()},
                    [this](std::size_t, std::size_t row, std::span<float> out) { data_.features.get(row, out); });
    }

    /// What the network made of it.
    Batch embedded(std::span<const std::size_t> rows) const {
        return make(rows, {static_cast<std::int64_t>(data_.embeddings->size)},
                    [this](std::size_t, std::size_t row, std::span<float> out) {
                        const auto embedding = data_.embeddings->row(row);
                        std::copy(embedding.begin(), embedding.end(), out.begin());
                    });
    }

    /// Those of `own` of a batch of `rows`. All draws, those of the other rows too, come first and in order, so that
    /// neither threads nor processes can change them.
    Batch augmented(std::span<const std::size_t> rows, RowRange own, const AugmentationParameters& parameters,
                    Random& random) const {
        const int mels = data_.features.mels();
        const int frames = data_.features.frames();
        const auto& front_end = data_.features.front_end();
        const double frame_seconds = static_cast<double>(front_end.hop) / front_end.sample_rate_hz;
        const auto backgrounds = data_.background != nullptr ? data_.background->size() : 0;
        std::vector<Augmentation> draws;
        for (std::size_t i = 0; i < rows.size(); ++i) {
            if (i > 0 && parameters.scope == AugmentationScope::kBatch)
                draws.push_back(draws.front());
            else
                draws.push_back(draw_augmentation(parameters, mels, frames, frame_seconds, backgrounds, random));
        }
        const auto fill = [&](std::size_t index, std::size_t row, std::span<float> out) {
            const auto& draw = draws[own.begin + index];
            thread_local std::vector<float> window;
            window.resize(out.size());
            data_.features.get(row, window);
            if (draw.gain_db != 0.0F || draw.background) sound(draw, row, window);
            augment(draw, mels, frames, window, out);
        };
        return make(rows.subspan(own.begin, own.size), {1, mels, frames}, fill);
    }

  private:
    void sound(const Augmentation& draw, std::size_t row, std::span<float> window) const {
        thread_local std::vector<float> noise;
        ScaledWindow clip{.features = window, .scale = data_.features.scale(row)};
        ScaledWindow background;
        if (draw.background) {
            noise.resize(window.size());
            data_.background->get(*draw.background, noise);
            background = {.features = noise, .scale = data_.background->scale(*draw.background)};
        }
        const auto floor_db = static_cast<float>(10.0 * std::log10(data_.features.front_end().log_floor));
        change_sound(draw, background, floor_db, clip);
    }

    /// shape: of a row.
    template <typename Fill>
    Batch make(std::span<const std::size_t> rows, std::vector<std::int64_t> shape, const Fill& fill) const {
        const auto size = static_cast<std::int64_t>(rows.size());
        const auto classes = static_cast<std::int64_t>(data_.classes);
        shape.insert(shape.begin(), size);
        // Pinned, so that the GPU copies by itself while this thread goes on to start the network's layers.
        const auto on_host = torch::TensorOptions(torch::kFloat32).pinned_memory(device_.is_cuda());
        Batch batch{.input = torch::empty(shape, on_host), .targets = torch::empty({size, classes}, on_host)};
        const auto row_size = batch.input.numel() / size;
        auto* input = batch.input.data_ptr<float>();
        auto* targets = batch.targets.data_ptr<float>();
        at::parallel_for(0, size, 1, [&](std::int64_t begin, std::int64_t end) {
            for (auto i = begin; i < end; ++i) {
                const auto row = rows[static_cast<std::size_t>(i)];
                fill(static_cast<std::size_t>(i), row,
                     std::span(input + i * row_size, static_cast<std::size_t>(row_size)));
                const auto copy_row = [&](const auto& all) {
                    const auto labels = all.subspan(row * data_.classes, data_.classes);
                    std::copy(labels.begin(), labels.end(), targets + i * classes);
                };
                if (data_.soft_targets.empty())
                    copy_row(data_.targets);
                else
                    copy_row(data_.soft_targets);
            }
        });
        return {.input = batch.input.to(device_, /*non_blocking=*/true),
                .targets = batch.targets.to(device_, /*non_blocking=*/true)};
    }

    const TrainingData& data_;
    torch::Device device_;
};

}  // namespace chorus
