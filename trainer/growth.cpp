#include "trainer/growth.h"

#include <algorithm>

#include "trainer/prototypes.h"

namespace chorus {
namespace {

constexpr float kLowLogit = -3.0F;

}  // namespace

std::vector<std::size_t> adopt_classes(Dataset& dataset, const Bundle& parent) {
    std::vector<std::string> codes;
    for (const auto& label : parent.labels) codes.push_back(label.code);
    for (const auto& code : dataset.classes)
        if (!has_class(parent, code)) codes.push_back(code);
    return take_classes(dataset, codes);
}

std::vector<float> targets_beside_parent(const Dataset& dataset, const Bundle& parent,
                                         std::span<const std::size_t> labelled, std::span<const float> parent_scores) {
    const auto classes = dataset.classes.size();
    const auto known = parent.labels.size();
    std::vector<float> targets;
    targets.reserve(dataset.clips.size() * classes);
    for (const auto& clip : dataset.clips) targets.insert(targets.end(), clip.targets.begin(), clip.targets.end());
    for (std::size_t c = 0; c < known; ++c) {
        if (std::find(labelled.begin(), labelled.end(), c) != labelled.end()) continue;
        for (std::size_t row = 0; row < dataset.clips.size(); ++row)
            targets[row * classes + c] = parent_scores[row * known + c];
    }
    return targets;
}

std::map<std::string, StoredTensor> grow_network(const Bundle& parent, const Dataset& dataset,
                                                 const Embeddings& embeddings, std::span<const std::size_t> rows) {
    auto tensors = parent.tensors;
    const auto known = parent.labels.size();
    if (dataset.classes.size() == known) return tensors;
    const auto size = embeddings.size;
    std::vector<float> of_rows;
    for (const auto row : rows) {
        const auto embedding = embeddings.row(row);
        of_rows.insert(of_rows.end(), embedding.begin(), embedding.end());
    }
    const auto type = tensors.at("head.weight").type;
    auto weight = to_float32(tensors.at("head.weight"));
    auto bias = to_float32(tensors.at("head.bias"));
    std::vector<std::uint8_t> present(rows.size());
    for (auto c = known; c < dataset.classes.size(); ++c) {
        for (std::size_t i = 0; i < rows.size(); ++i) present[i] = dataset.clips[rows[i]].targets[c];
        auto row = prototype_row(of_rows, size, present);
        if (!row) row = HeadRow{.weight = std::vector<float>(size), .bias = kLowLogit};
        weight.insert(weight.end(), row->weight.begin(), row->weight.end());
        bias.push_back(row->bias);
    }
    const auto classes = static_cast<std::int64_t>(dataset.classes.size());
    tensors["head.weight"] = to_stored(weight, {classes, static_cast<std::int64_t>(size)}, type);
    tensors["head.bias"] = to_stored(bias, {classes}, type);
    return tensors;
}

void keep_head_rows(const Bundle& parent, std::span<const std::size_t> classes,
                    std::map<std::string, StoredTensor>& tensors) {
    for (const auto* name : {"head.weight", "head.bias"}) {
        auto& tensor = tensors.at(name);
        auto values = to_float32(tensor);
        const auto kept = to_float32(parent.tensors.at(name));
        const auto size = kept.size() / parent.labels.size();
        for (const auto c : classes)
            for (std::size_t i = c * size; i < (c + 1) * size; ++i) values[i] = kept[i];
        tensor = to_stored(values, tensor.shape, tensor.type);
    }
}

}  // namespace chorus
