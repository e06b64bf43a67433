// Two processes' parts of a step against the whole in one: here they are threads, over the same sockets.

#include "trainer/exchange.h"

#include <gmock/gmock.h>

#include <functional>
#include <latch>
#include <memory>
#include <thread>

#include "model/batch_norm.h"
#include "tests/trainer/free_port.h"
#include "trainer/autocast.h"
#include "trainer/loss.h"
#include "trainer/mixed_forward.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr int kProcesses = 2;
constexpr std::int64_t kRows = 4;  // of each process
constexpr std::int64_t kMels = 32;
constexpr std::int64_t kFrames = 32;
constexpr std::int64_t kSpecies = 3;

/// Runs `body` as so many processes.
void run_as_processes(const std::function<void(const ProcessGroup&)>& body, std::chrono::milliseconds timeout = 30s) {
    const int port = find_free_port();
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < kProcesses; ++rank)
        threads.emplace_back([&, rank] {
            const Rendezvous place{.rank = rank, .world_size = kProcesses, .address = "127.0.0.1", .port = port};
            try {
                body(ProcessGroup(place, timeout));
            } catch (const std::exception& error) {
                ADD_FAILURE() << error.what();
            }
        });
}

TEST(ProcessGroup, ExchangesTensorsAndText) {
    run_as_processes([](const ProcessGroup& processes) {
        const auto rank = static_cast<float>(processes.rank());
        EXPECT_TRUE(
            processes.gather(torch::full({1, 2}, rank), "rows").equal(torch::tensor({{0.0F, 0.0F}, {1.0F, 1.0F}})));
        const auto image = torch::arange(24.0F).view({1, 2, 3, 4}).contiguous(at::MemoryFormat::ChannelsLast) + rank;
        const auto images = processes.gather(image, "images");
        EXPECT_TRUE(images.equal(torch::cat({image - rank, image - rank + 1.0F})));
        EXPECT_TRUE(images.is_contiguous(at::MemoryFormat::ChannelsLast));
        EXPECT_TRUE(processes.own_rows(images).equal(image));
        EXPECT_TRUE(processes.add_up(image, "images").equal(2.0F * (image - rank) + 1.0F));

        const auto some = torch::full({2, 2}, rank);
        const auto others = torch::full({}, 10.0F * rank);
        processes.average(std::vector{some, others}, "means");
        EXPECT_TRUE(some.equal(torch::full({2, 2}, 0.5F)));
        EXPECT_EQ(others.item<float>(), 5.0F);

        for (const auto& sent :
             {std::optional<std::string>("text"), std::optional<std::string>(""), std::optional<std::string>()}) {
            auto text = processes.leads() ? sent : std::optional<std::string>("other");
            processes.share(text, "text");
            EXPECT_EQ(text, sent);
        }
    });
}

TEST(ProcessGroup, LosesNothingAlone) {
    const ProcessGroup alone;
    const auto tensor = torch::rand({3, 2});
    EXPECT_TRUE(alone.gather(tensor, "").is_same(tensor));
    EXPECT_TRUE(alone.own_rows(tensor).is_same(tensor));
    EXPECT_TRUE(gather_rows(tensor, alone).is_same(tensor));
    std::optional<std::string> text = "text";
    alone.share(text, "");
    EXPECT_EQ(text, "text");
}

TEST(ProcessGroup, SaysWhatItWaitedForWhenAnotherIsGone) {
    run_as_processes([](const ProcessGroup& processes) {
        processes.wait_for_all("all");
        if (!processes.leads()) return;
        EXPECT_THAT([&] { processes.wait_for_all("the other's word"); },
                    testing::ThrowsMessage<ProcessLost>(
                        testing::AllOf(HasSubstr("rank 0 of 2 waited for the other's word and lost another process"),
                                       testing::Not(HasSubstr("\n")))));
    });
}

TEST(ProcessGroup, SaysThatAnotherGivesNoSign) {
    std::latch told(kProcesses);
    run_as_processes(
        [&](const ProcessGroup& processes) {
            if (processes.leads()) {
                EXPECT_THAT([&] { processes.wait_for_all("the other's word"); },
                            testing::ThrowsMessage<ProcessLost>(HasSubstr("or had no sign of it for 3 s: ")));
            }
            told.arrive_and_wait();
        },
        3s);
}

TEST(ProcessGroup, SaysThatTheOthersDidNotCome) {
    const Rendezvous place{.rank = 0, .world_size = 2, .address = "127.0.0.1", .port = find_free_port()};
    EXPECT_THAT([&] { ProcessGroup(place, 200ms); }, testing::ThrowsMessage<std::runtime_error>(testing::AllOf(
                                                         HasSubstr("rank 0 of 2 did not meet the others at 127.0.0.1:"),
                                                         HasSubstr("within 0.2 s"), testing::Not(HasSubstr("\n")))));
}

// What a GPU takes, and autocast; the kernels of the CPU are in every SharedStep.
TEST(BatchParts, AreNormalisedAsTheWholeBatchIs) {
    torch::manual_seed(5);
    const auto whole = torch::randn({kProcesses * kRows, 5, 3, 4}) + 10.0F;
    const auto towards = torch::randn_like(whole);
    const auto layer_of = [](const BatchParts* parts) {
        return BatchNorm{.weight = torch::linspace(0.5, 1.5, 5).requires_grad_(),
                         .bias = torch::linspace(-1.0, 1.0, 5).requires_grad_(),
                         .running_mean = torch::zeros({5}),
                         .running_var = torch::ones({5}),
                         .momentum = 0.1,
                         .parts = parts};
    };
    const auto wanted_of = layer_of(nullptr);
    const auto wanted_input = whole.clone().requires_grad_();
    const auto wanted = torch::batch_norm(wanted_input, wanted_of.weight, wanted_of.bias, wanted_of.running_mean,
                                          wanted_of.running_var, /*training=*/true, 0.1, kBatchNormEpsilon, false);
    (wanted * towards).sum().backward();
    run_as_processes([&](const ProcessGroup& processes) {
        const BatchParts parts{.count = kProcesses,
                               .add_up = [&](const auto& own) { return processes.add_up(own, "sums"); }};
        const auto of = layer_of(&parts);
        const auto input = processes.own_rows(whole).clone().requires_grad_();
        const auto output = normalise_part(input, of);
        (output * processes.own_rows(towards)).sum().backward();
        const auto expect_near = [](const torch::Tensor& found, const torch::Tensor& as) {
            EXPECT_LT((found - as).abs().max().item<float>(), 2e-5F);
        };
        expect_near(output, processes.own_rows(wanted));
        expect_near(input.grad(), processes.own_rows(wanted_input.grad()));
        expect_near(processes.add_up(of.weight.grad(), "gradients"), wanted_of.weight.grad());
        expect_near(processes.add_up(of.bias.grad(), "gradients"), wanted_of.bias.grad());
        expect_near(of.running_mean, wanted_of.running_mean);
        expect_near(of.running_var, wanted_of.running_var);
        EXPECT_EQ(normalise_part(input.to(torch::kBFloat16), of).scalar_type(), torch::kBFloat16);
    });
}

struct Step {
    const char* name;
    Mixing mixing = Mixing::kNone;
    MixingSemantics semantics = MixingSemantics::kPaper;
    ManifoldLayer layer = ManifoldLayer::kEmbedding;
    int multimix_samples = 0;
    std::uint64_t seed = 1;  // of the layer, too
};

void PrintTo(const Step& step, std::ostream* out) {
    *out << step.name;
}

class SharedStep : public testing::TestWithParam<Step> {
  protected:
    SharedStep() {
        torch::manual_seed(3);
        network_ = make_network();
        whole_ = {.input = torch::rand({kProcesses * kRows, 1, kMels, kFrames}),
                  .targets = (torch::rand({kProcesses * kRows, kSpecies}) < 0.4).to(torch::kFloat32)};
    }

    static MobileNetV3 make_network() {
        MobileNetV3 network(
            MobileNetOptions{.architecture = Architecture::kMobileNetV3Small, .classes = static_cast<int>(kSpecies)});
        const torch::NoGradGuard no_grad;
        for (auto& parameter : network->parameters())
            if (parameter.dim() == 4) parameter.set_data(parameter.contiguous(at::MemoryFormat::ChannelsLast));
        return network;
    }

    /// Gradients, running statistics and the loss, in that order.
    static std::vector<torch::Tensor> step(MobileNetV3& network, const Batch& batch, const ProcessGroup& processes) {
        TrainingOptions options;
        options.mixing.semantics = GetParam().semantics;
        options.mixing.manifold_layer = GetParam().layer;
        options.mixing.multimix_samples = GetParam().multimix_samples / processes.size();
        Random random(GetParam().seed);
        const auto [logits, targets] = mixed_forward(network, batch, options, processes, GetParam().mixing, random);
        const auto loss = loss_of(options.loss, logits, targets, {});
        loss.backward();
        std::vector<torch::Tensor> values;
        for (const auto& parameter : network->parameters()) values.push_back(parameter.grad());
        values.push_back(loss.detach());
        processes.average(values, "gradients");
        for (const auto& buffer : network->buffers()) values.push_back(buffer.to(torch::kFloat32));
        return values;
    }

    MobileNetV3 network_{nullptr};
    Batch whole_;
};

TEST_P(SharedStep, IsTheStepOfOneProcessWithTheWholeBatch) {
    std::vector<MobileNetV3> networks;
    for (int rank = 0; rank < kProcesses; ++rank) {
        networks.push_back(make_network());
        load_weights(networks.back(), store_weights(network_, TensorType::kFloat32));
    }
    const auto wanted = step(network_, whole_, ProcessGroup());
    run_as_processes([&](const ProcessGroup& processes) {
        auto& network = networks[static_cast<std::size_t>(processes.rank())];
        synchronise_batch_norm(network, processes);
        const Batch own{.input = processes.own_rows(whole_.input), .targets = processes.own_rows(whole_.targets)};
        const auto values = step(network, own, processes);
        ASSERT_EQ(values.size(), wanted.size());
        for (std::size_t i = 0; i < values.size(); ++i) {
            const auto apart = (values[i] - wanted[i]).norm().item<float>();
            EXPECT_LE(apart, 1e-4F * wanted[i].norm().item<float>() + 1e-6F) << "tensor " << i;
        }
    });
}

INSTANTIATE_TEST_SUITE_P(
    Mixings, SharedStep,
    testing::Values(Step{.name = "Plain"}, Step{.name = "Mixup", .mixing = Mixing::kMixup},
                    Step{.name = "ReferenceMixup", .mixing = Mixing::kMixup, .semantics = MixingSemantics::kReference},
                    Step{.name = "Manifold", .mixing = Mixing::kManifoldMixup},
                    Step{.name = "ManifoldAtAStage", .mixing = Mixing::kManifoldMixup, .layer = ManifoldLayer::kRandom},
                    Step{.name = "ManifoldAtAnotherStage",
                         .mixing = Mixing::kManifoldMixup,
                         .layer = ManifoldLayer::kRandom,
                         .seed = 2},
                    Step{.name = "MultiMix", .mixing = Mixing::kMultiMix},
                    Step{.name = "MultiMixOfMore", .mixing = Mixing::kMultiMix, .multimix_samples = 24}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(LossScale, IsHalvedWhenAGradientIsNoNumberAndThenGrowsAgain) {
    LossScale scale;
    EXPECT_EQ(scale.scale(), 65'536.0);
    const std::vector gradients = {torch::full({2}, 65'536.0F),
                                   torch::full({3}, std::numeric_limits<float>::infinity())};
    EXPECT_FALSE(scale.unscale(gradients));
    EXPECT_EQ(scale.scale(), 32'768.0);
    gradients[0].fill_(32'768.0F);
    gradients[1].fill_(-16'384.0F);
    EXPECT_TRUE(scale.unscale(gradients));
    EXPECT_TRUE(gradients[0].equal(torch::ones({2})));
    EXPECT_TRUE(gradients[1].equal(torch::full({3}, -0.5F)));
    scale.restore(4.0, 1999);
    EXPECT_TRUE(scale.unscale(gradients));
    EXPECT_EQ(scale.scale(), 8.0);
    EXPECT_EQ(scale.steps(), 0);

    scale.restore(2.0, 0);
    gradients[1].fill_(std::numeric_limits<float>::quiet_NaN());
    EXPECT_FALSE(scale.unscale(gradients));
    EXPECT_THROW(scale.unscale(gradients), std::runtime_error) << "by a scale of 1";
}

}  // namespace
}  // namespace chorus
