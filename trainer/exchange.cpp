#include "trainer/exchange.h"

namespace chorus {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

struct GatherRows : torch::autograd::Function<GatherRows> {
    static torch::Tensor forward(AutogradContext* context, const torch::Tensor& own, const ProcessGroup* processes) {
        context->saved_data["processes"] =
            reinterpret_cast<std::int64_t>(processes);  // all that a graph can keep of it
        return processes->gather(own, "their rows");
    }

    static tensor_list backward(AutogradContext* context, const tensor_list& gradients) {
        const auto& processes = *reinterpret_cast<const ProcessGroup*>(context->saved_data["processes"].toInt());
        return {processes.own_rows(processes.add_up(gradients.front(), "their rows' gradients")), {}};
    }
};

}  // namespace

torch::Tensor gather_rows(const torch::Tensor& own, const ProcessGroup& processes) {
    return processes.is_alone() ? own : GatherRows::apply(own, &processes);
}

void synchronise_batch_norm(MobileNetV3& network, const ProcessGroup& processes) {
    if (processes.is_alone()) return;
    normalise_over(network, {.count = processes.size(), .add_up = [&processes](const torch::Tensor& of_part) {
                                 return processes.add_up(of_part, "batch normalisation's sums");
                             }});
}

}  // namespace chorus
