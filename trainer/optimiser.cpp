#include "trainer/optimiser.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>
#include <type_traits>
#include <utility>

namespace chorus {
namespace {

/// By what an optimiser finds its state of a parameter: its address, and before LibTorch 2 the text of that.
template <typename States>
typename States::key_type state_key(const States&, const torch::Tensor& parameter) {
    if constexpr (std::is_same_v<typename States::key_type, std::string>) {
        return c10::str(parameter.unsafeGetTensorImpl());
    } else {
        return parameter.unsafeGetTensorImpl();
    }
}

}  // namespace

std::vector<torch::optim::OptimizerParamGroup> parameter_groups(MobileNetV3& network, const TrainingOptions& options) {
    auto decayed = torch::optim::AdamWOptions(options.learning_rate.rate)
                       .betas({options.beta1, options.beta2})
                       .weight_decay(options.weight_decay);
    auto undecayed = decayed;
    undecayed.weight_decay(0.0);
    std::vector<torch::Tensor> all;
    std::vector<torch::Tensor> others;
    const auto idle = idle_biases(network);
    const auto is_idle = [&](const torch::Tensor& parameter) {
        return std::ranges::any_of(idle, [&](const auto& bias) { return bias.is_same(parameter); });
    };
    for (const auto& parameter : network->parameters())
        if (parameter.requires_grad() && !is_idle(parameter))
            (options.decay_all_tensors || parameter.dim() > 1 ? all : others).push_back(parameter);
    std::vector<torch::optim::OptimizerParamGroup> groups;
    groups.emplace_back(all, std::make_unique<torch::optim::AdamWOptions>(decayed));
    if (!others.empty()) groups.emplace_back(others, std::make_unique<torch::optim::AdamWOptions>(undecayed));
    return groups;
}

std::map<std::string, StoredTensor> store_optimiser(const MobileNetV3& network, torch::optim::AdamW& optimiser) {
    std::map<std::string, StoredTensor> stored;
    const auto store = [&](const std::string& name, const torch::Tensor& value) {
        const auto plain = value.to(torch::kCPU).contiguous();
        stored.emplace(name, to_stored({plain.data_ptr<float>(), static_cast<std::size_t>(plain.numel())},
                                       value.sizes().vec(), TensorType::kFloat32));
    };
    for (const auto& item : network->named_parameters()) {
        auto& states = optimiser.state();
        const auto found = states.find(state_key(states, item.value()));
        if (found == states.end()) continue;
        auto& state = static_cast<torch::optim::AdamWParamState&>(*found->second);
        store(item.key() + "/mean", state.exp_avg());
        store(item.key() + "/square", state.exp_avg_sq());
        StoredTensor steps{
            .type = TensorType::kInt64, .shape = {1}, .bytes = std::vector<std::byte>(sizeof(std::int64_t))};
        const std::int64_t count = state.step();
        std::memcpy(steps.bytes.data(), &count, sizeof count);
        stored.emplace(item.key() + "/steps", std::move(steps));
    }
    return stored;
}

void load_optimiser(const std::map<std::string, StoredTensor>& stored, const MobileNetV3& network,
                    torch::optim::AdamW& optimiser) {
    for (const auto& item : network->named_parameters()) {
        if (!stored.contains(item.key() + "/steps")) continue;
        const auto load = [&](const std::string& part) {
            auto values = to_float32(stored.at(item.key() + part));
            if (static_cast<std::int64_t>(values.size()) != item.value().numel())
                throw std::runtime_error(item.key() + part + " has another size");
            return torch::zeros_like(item.value()).copy_(torch::from_blob(values.data(), item.value().sizes()));
        };
        auto state = std::make_unique<torch::optim::AdamWParamState>();
        state->exp_avg(load("/mean"));
        state->exp_avg_sq(load("/square"));
        std::int64_t count = 0;
        std::memcpy(&count, stored.at(item.key() + "/steps").bytes.data(), sizeof count);
        state->step(count);
        auto& states = optimiser.state();
        states[state_key(states, item.value())] = std::move(state);
    }
}

}  // namespace chorus
