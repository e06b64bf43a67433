#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "model/bundle.h"
#include "tests/trainer/support.h"

namespace chorus {
namespace {

using testing::HasSubstr;

struct Outcome {
    int status = -1;
    std::string output;
    std::string errors;
};

class ChorusTrain : public testing::Test {
  protected:
    Outcome run(const std::string& arguments) {
        const auto errors = folder_ / "errors";
        const auto command = std::string(CHORUS_TRAIN) + ' ' + arguments + " 2>" + errors.string();
        FILE* pipe = popen(command.c_str(), "r");
        Outcome outcome;
        for (int c = std::fgetc(pipe); c != EOF; c = std::fgetc(pipe)) outcome.output += static_cast<char>(c);
        const int status = pclose(pipe);
        outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
        std::ifstream file(errors);
        outcome.errors.assign(std::istreambuf_iterator<char>(file), {});
        return outcome;
    }

    TemporaryFolder folder_;
};

TEST_F(ChorusTrain, HelpsWithEveryVerb) {
    for (const auto* verb : {"", "fit", "evaluate", "models"}) {
        const auto outcome = run(std::string(verb) + " --help");
        EXPECT_EQ(outcome.status, 0);
        EXPECT_THAT(outcome.output, HasSubstr("Usage: "));
    }
}

TEST_F(ChorusTrain, NamesItsVersionAndLibTorch) {
    const auto outcome = run("--version");
    EXPECT_EQ(outcome.status, 0);
    EXPECT_THAT(outcome.output, HasSubstr("chorus-train " CHORUS_VERSION));
    EXPECT_THAT(outcome.output, HasSubstr("LibTorch"));
    EXPECT_THAT(outcome.output, HasSubstr("CUDA"));
}

TEST_F(ChorusTrain, ExitsWithTwoOnWrongUsage) {
    for (const auto* arguments :
         {"", "sing", "fit", "fit --dataset x --out y --architecture huge", "fit --dataset x --out y --epochs 0",
          "fit --dataset x --out y --hop 0", "fit --dataset x --out y --set epochs",
          "fit --dataset x --out y --set a.b=1", "fit --dataset x --out y --config /nonexistent", "models"}) {
        const auto outcome = run(arguments);
        EXPECT_EQ(outcome.status, 2) << arguments;
        EXPECT_EQ(outcome.output, "") << arguments;
        EXPECT_NE(outcome.errors, "") << arguments;
    }
}

TEST_F(ChorusTrain, ExitsWithOneAndOneLineOnAFailure) {
    const auto outcome = run("fit --dataset /nonexistent --out " + (folder_ / "m.safetensors").string());
    EXPECT_EQ(outcome.status, 1);
    EXPECT_EQ(outcome.output, "");
    EXPECT_EQ(outcome.errors, "chorus-train: /nonexistent/metadata.csv: No such file or directory\n");
}

TEST_F(ChorusTrain, PrintsNothingButJsonOnItsOutput) {
    write_tone_dataset(folder_ / "dataset", 24, 4);
    write_text(folder_ / "dataset/audio/POND/POND_3_0_3.wav", "no sound");
    const auto dataset = (folder_ / "dataset").string();
    const auto model = (folder_ / "m.safetensors").string();
    const auto fitted =
        run("fit --dataset " + dataset + " --out " + model +
            " --architecture small --hop 512 --mels 64 --epochs 1 --batch 8 --threads 1 --precision float");
    ASSERT_EQ(fitted.status, 0) << fitted.errors;
    const auto report = nlohmann::json::parse(fitted.output);
    EXPECT_EQ(report["bundle"], model);
    EXPECT_EQ(report["id"], read_bundle(model).id);
    EXPECT_EQ(report["left_out"]["count"], 1);
    EXPECT_THAT(fitted.errors, HasSubstr("POND_3_0_3.wav: cannot be read as sound"));

    const auto evaluated = run("evaluate --threads 1 --model " + model + " --dataset " + dataset);
    ASSERT_EQ(evaluated.status, 0) << evaluated.errors;
    EXPECT_EQ(nlohmann::json::parse(evaluated.output)["test"]["clips"], 4);

    std::filesystem::create_symlink("m.safetensors", folder_ / "current");
    const auto listed = run("models " + folder_.path().string());
    ASSERT_EQ(listed.status, 0) << listed.errors;
    EXPECT_EQ(nlohmann::json::parse(listed.output)[0]["current"], true);
}

}  // namespace
}  // namespace chorus
