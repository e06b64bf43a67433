// chorus-train fit as two processes, as torchrun and srun start it.

#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "model/bundle.h"
#include "tests/end_to_end/process.h"
#include "tests/trainer/free_port.h"
#include "tests/trainer/support.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;

constexpr auto kLongest = 120s;

class ManyProcesses : public testing::Test {
  protected:
    ManyProcesses() {
        setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
        setenv("OMP_WAIT_POLICY", "passive", 1);  // which the program would start over for
        write_tone_dataset(folder_ / "dataset", 40, 2);
    }

    /// settings: KEY=VALUE, or a flag.
    std::unique_ptr<Process> start(std::vector<std::string> variables, const std::string& out,
                                   const std::vector<std::string>& settings) {
        std::vector<std::string> command = {"env"};
        command.insert(command.end(), variables.begin(), variables.end());
        for (const auto& word :
             {std::string(CHORUS_TRAIN), std::string("fit"), std::string("--threads"), std::string("1"),
              std::string("--dataset"), (folder_ / "dataset").string(), std::string("--out"), (folder_ / out).string()})
            command.push_back(word);
        for (const auto* setting :
             {"model.architecture=small", "model.precision=float", "front_end.hop=512", "front_end.mels=32",
              "evaluation.resamples=0", "training.checkpoint_seconds=0", "mixing.plain_epochs_first=0",
              "mixing.step_share=1", "training.device=cpu", "training.epochs=2"})
            command.insert(command.end(), {"--set", setting});
        for (const auto& setting : settings) {
            if (!setting.starts_with("--")) command.emplace_back("--set");
            command.push_back(setting);
        }
        return std::make_unique<Process>(command, folder_.path());
    }

    using Pair = std::vector<std::unique_ptr<Process>>;

    Pair start_pair(const std::string& out, std::vector<std::string> settings = {}) {
        settings.insert(settings.begin(), "training.batch=8");
        const auto port = "MASTER_PORT=" + std::to_string(find_free_port());
        Pair pair;
        for (const auto* rank : {"RANK=0", "RANK=1"})
            pair.push_back(start({rank, "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", port}, out, settings));
        return pair;
    }

    static Finished finish(Process& process, std::chrono::milliseconds longest = kLongest) {
        const auto finished = process.wait(longest);
        return finished ? *finished : Finished{.status = -1, .out = {}, .err = "it still runs: " + process.err()};
    }

    std::string bytes(const std::string& name) {
        std::ifstream file(folder_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    /// How far each value of two bundles is from the other's, the farthest first.
    std::vector<float> distances(const std::string& one, const std::string& other) {
        const auto wanted = read_bundle(folder_ / one).tensors;
        const auto found = read_bundle(folder_ / other).tensors;
        std::vector<float> distances;
        for (const auto& [name, tensor] : wanted) {
            if (tensor.type == TensorType::kInt64) continue;
            const auto a = to_float32(tensor);
            const auto b = to_float32(found.at(name));
            for (std::size_t i = 0; i < a.size(); ++i) distances.push_back(std::abs(a[i] - b.at(i)));
        }
        std::ranges::sort(distances, std::greater{});
        return distances;
    }

    /// Until both are in the midst of their steps.
    bool wait_for_checkpoint(const std::string& out) {
        const auto last = std::chrono::steady_clock::now() + kLongest;
        while (!std::filesystem::exists(folder_ / (out + ".checkpoint"))) {
            if (std::chrono::steady_clock::now() > last) return false;
            std::this_thread::sleep_for(1ms);
        }
        return true;
    }

    TemporaryFolder folder_;
};

TEST_F(ManyProcesses, TrainTheWeightsOfOneWithTheirBatchesTogether) {
    // Two steps. AdamW makes a step as long as the rate of any gradient, be it rounding: a few single weights part.
    const std::vector<std::string> settings = {"training.epochs=1", "optimiser.learning_rate=0.0001"};
    const auto train_alone = [&](const std::string& out, const std::string& batch) {
        auto all = settings;
        all.push_back(batch);
        const auto finished = finish(*start({"SLURM_NTASKS=1", "SLURM_PROCID=0"}, out, all));
        EXPECT_EQ(finished.status, 0) << finished.err;
    };
    train_alone("one.safetensors", "training.batch=16");
    train_alone("half.safetensors", "training.batch=8");
    auto pair = start_pair("two.safetensors", settings);
    const auto leader = finish(*pair[0]);
    const auto other = finish(*pair[1]);
    ASSERT_EQ(leader.status, 0) << leader.err;
    ASSERT_EQ(other.status, 0) << other.err;
    EXPECT_THAT(leader.out, HasSubstr("\"processes\": 2"));
    EXPECT_EQ(other.out + other.err, "") << "one of them tells of it";
    const auto apart = distances("one.safetensors", "two.safetensors");
    EXPECT_LT(apart[apart.size() / 100'000], 1e-4F);
    EXPECT_LT(apart[apart.size() / 1000], 1e-5F);
    const auto half_apart = distances("one.safetensors", "half.safetensors");
    EXPECT_GT(half_apart[half_apart.size() / 1000], 1e-4F);
}

TEST_F(ManyProcesses, EndWhenOneIsLostAndGoOnToTheSameBytes) {
    auto unbroken = start_pair("unbroken.safetensors", {"training.epochs=6"});
    for (auto& process : unbroken) {
        const auto finished = finish(*process);
        ASSERT_EQ(finished.status, 0) << finished.err;
    }

    const std::string out = "broken.safetensors";
    const std::vector<std::string> settings = {"training.epochs=6", "--resume"};
    auto killed = start_pair(out, settings);
    ASSERT_TRUE(wait_for_checkpoint(out)) << killed[0]->err();
    killed[1]->signal(SIGKILL);
    const auto left = finish(*killed[0]);
    EXPECT_EQ(left.status, 1);
    EXPECT_THAT(left.err, testing::ContainsRegex("chorus-train: rank 0 of 2 waited for .+ and lost another process"));
    EXPECT_THAT(left.err, HasSubstr("fit --resume by all goes on from the last checkpoint\n"));

    auto stopped = start_pair(out, settings);
    const auto before = std::filesystem::last_write_time(folder_ / (out + ".checkpoint"));
    const auto has_gone_on = [&] {
        std::error_code is_gone;
        return std::filesystem::last_write_time(folder_ / (out + ".checkpoint"), is_gone) != before;
    };
    for (int i = 0; i < 120'000 && !has_gone_on(); ++i) std::this_thread::sleep_for(1ms);
    ASSERT_TRUE(has_gone_on());
    stopped[1]->signal(SIGTERM);
    for (auto& process : stopped) {
        const auto finished = finish(*process);
        EXPECT_EQ(finished.status, 3) << finished.err;
        EXPECT_THAT(finished.err, HasSubstr("stopped in epoch "));
    }

    auto resumed = start_pair(out, settings);
    for (auto& process : resumed) {
        const auto finished = finish(*process);
        ASSERT_EQ(finished.status, 0) << finished.err;
    }
    EXPECT_FALSE(bytes(out).empty());
    EXPECT_TRUE(bytes(out) == bytes("unbroken.safetensors"));
    EXPECT_FALSE(std::filesystem::exists(folder_ / (out + ".checkpoint")));
}

TEST_F(ManyProcesses, MustBeToldTheSame) {
    const auto port = "MASTER_PORT=" + std::to_string(find_free_port());
    const std::vector<std::string> place = {"SLURM_STEP_NUM_TASKS=2", "MASTER_ADDR=127.0.0.1", port};
    const auto start_task = [&](const std::string& task, const std::string& setting) {
        auto variables = place;
        variables.push_back("SLURM_PROCID=" + task);
        return start(variables, "out.safetensors", {"training.batch=8", setting});
    };
    for (const auto& [one, another] : {std::pair{"training.seed=1", "training.seed=2"},
                                       std::pair{"model.architecture=small", "model.architecture=large"}}) {
        const auto leader = start_task("0", one);
        const auto other = start_task("1", another);
        const auto finished = finish(*other);
        EXPECT_EQ(finished.status, 1);
        EXPECT_THAT(finished.err, HasSubstr("rank 1 has other options or data, another kind of processor, or a GPU "
                                            "where rank 0 has none: all need the same"));
        EXPECT_EQ(finish(*leader).status, 1);
    }
}

TEST_F(ManyProcesses, AreRefusedWhereTheEnvironmentOrTheVerbMakesNoSense) {
    const auto refused = finish(*start({"RANK=2", "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1"}, "out.safetensors", {}));
    EXPECT_EQ(refused.status, 2);
    EXPECT_EQ(refused.err, "RANK: \"2\" is no whole number of 0 to 1\n");
    const auto compare = run_program({"env", "RANK=0", "WORLD_SIZE=2", "MASTER_ADDR=127.0.0.1", CHORUS_TRAIN, "compare",
                                      "--dataset", folder_ / "dataset", "--out", folder_ / "compared"},
                                     folder_.path());
    EXPECT_EQ(compare.status, 2);
    EXPECT_THAT(compare.err, HasSubstr("fit alone trains in several processes"));
}

}  // namespace
}  // namespace chorus
