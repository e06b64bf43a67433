#include "trainer/growth.h"

#include <fmt/format.h>
#include <torch/torch.h>

#include <algorithm>

#include "model/classifier.h"
#include "model/mobilenet_v3.h"
#include "trainer/prototypes.h"
#include "trainer/scoring.h"

namespace chorus {
namespace {

constexpr float kLowLogit = -3.0F;

/// [rows, embedding size] of the parent's network, as in service.
std::vector<float> embeddings_of(const Bundle& parent, const FeatureStore& features, std::span<const std::size_t> rows,
                                 std::size_t& size, int threads) {
    constexpr std::size_t kBatch = 32;
    const torch::NoGradGuard no_grad;
    at::set_num_threads(threads);
    MobileNetV3 network(
        MobileNetOptions{.architecture = parent.architecture, .classes = static_cast<int>(parent.labels.size())});
    load_weights(network, parent.tensors);
    network->eval();
    size = static_cast<std::size_t>(network->embedding_size());
    const auto window = static_cast<std::size_t>(features.mels()) * static_cast<std::size_t>(features.frames());
    std::vector<float> embeddings;
    for (std::size_t at = 0; at < rows.size(); at += kBatch) {
        const auto part = rows.subspan(at, std::min(kBatch, rows.size() - at));
        auto input = torch::empty({static_cast<std::int64_t>(part.size()), 1, features.mels(), features.frames()});
        for (std::size_t i = 0; i < part.size(); ++i)
            features.get(part[i], std::span(input.data_ptr<float>() + i * window, window));
        const auto embedded = network->embed(input).contiguous();
        embeddings.insert(embeddings.end(), embedded.data_ptr<float>(), embedded.data_ptr<float>() + embedded.numel());
    }
    return embeddings;
}

}  // namespace

std::vector<std::size_t> adopt_classes(Dataset& dataset, const Bundle& parent) {
    std::vector<std::string> codes;
    for (const auto& label : parent.labels) codes.push_back(label.code);
    for (const auto& code : dataset.classes)
        if (!has_class(parent, code)) codes.push_back(code);
    return take_classes(dataset, codes);
}

std::vector<float> targets_beside_parent(const Dataset& dataset, const FeatureStore& features, const Bundle& parent,
                                         std::span<const std::size_t> labelled, int threads) {
    const auto classes = dataset.classes.size();
    std::vector<float> targets;
    targets.reserve(dataset.clips.size() * classes);
    for (const auto& clip : dataset.clips) targets.insert(targets.end(), clip.targets.begin(), clip.targets.end());
    if (labelled.size() == classes) return targets;

    const auto classifier = make_classifier(parent, {.device = "cpu", .threads = threads});
    std::vector<std::size_t> rows(dataset.clips.size());
    for (std::size_t i = 0; i < rows.size(); ++i) rows[i] = i;
    const auto scores = score_clips(*classifier, features, dataset, rows).scores;
    const auto known = parent.labels.size();
    for (std::size_t c = 0; c < known; ++c) {
        if (std::find(labelled.begin(), labelled.end(), c) != labelled.end()) continue;
        for (std::size_t row = 0; row < rows.size(); ++row) targets[row * classes + c] = scores[row * known + c];
    }
    return targets;
}

std::map<std::string, StoredTensor> grow_network(const Bundle& parent, const Dataset& dataset,
                                                 const FeatureStore& features, std::span<const std::size_t> rows,
                                                 int threads) {
    auto tensors = parent.tensors;
    const auto known = parent.labels.size();
    if (dataset.classes.size() == known) return tensors;
    std::size_t size = 0;
    const auto embeddings = embeddings_of(parent, features, rows, size, threads);
    const auto type = tensors.at("head.weight").type;
    auto weight = to_float32(tensors.at("head.weight"));
    auto bias = to_float32(tensors.at("head.bias"));
    std::vector<std::uint8_t> present(rows.size());
    for (auto c = known; c < dataset.classes.size(); ++c) {
        for (std::size_t i = 0; i < rows.size(); ++i) present[i] = dataset.clips[rows[i]].targets[c];
        auto row = prototype_row(embeddings, size, present);
        if (!row) row = HeadRow{.weight = std::vector<float>(size), .bias = kLowLogit};
        weight.insert(weight.end(), row->weight.begin(), row->weight.end());
        bias.push_back(row->bias);
    }
    const auto classes = static_cast<std::int64_t>(dataset.classes.size());
    tensors["head.weight"] = to_stored(weight, {classes, static_cast<std::int64_t>(size)}, type);
    tensors["head.bias"] = to_stored(bias, {classes}, type);
    return tensors;
}

}  // namespace chorus
