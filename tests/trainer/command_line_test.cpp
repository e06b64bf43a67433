#include <gmock/gmock.h>
#include <sys/wait.h>

#include <cmath>
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
    for (const auto* verb : {"", "fit", "evaluate", "compare", "import", "models", "retrain", "rollback"}) {
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
         {"", "sing", "fit", "fit --dataset x --out y --architecture huge", "fit --dataset x --out y --set epochs",
          "fit --dataset x --out y --set a.b=1", "fit --dataset x --out y --config /nonexistent",
          "compare --dataset x --out y --methods cutmix", "compare --dataset x --out y --methods mix2:loss.kind=huge",
          "models"}) {
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
    EXPECT_EQ(outcome.errors, "chorus-train: /nonexistent: does not exist\n");
}

TEST_F(ChorusTrain, ImportsLabelsForATraining) {
    write_tone_dataset(folder_ / "tones", 24, 4);
    const auto inbox = folder_ / "labels/inbox";
    std::filesystem::create_directories(inbox);
    std::filesystem::rename(folder_ / "tones/audio", inbox / "audio");
    std::filesystem::rename(folder_ / "tones/metadata.csv", inbox / "metadata.csv");
    write_text(inbox / "bad.txt", "no track\n");
    const auto long_ago = std::filesystem::file_time_type::clock::now() - std::chrono::hours(1);
    for (const auto& entry : std::filesystem::recursive_directory_iterator(inbox))
        std::filesystem::last_write_time(entry, long_ago);

    const auto station = folder_.path().string();
    const auto imported = run("import --station " + station);
    EXPECT_EQ(imported.status, 1);
    EXPECT_EQ(imported.errors, "bad.txt is rejected: bad.txt:1: 1 fields, not start, end and label\n");
    EXPECT_EQ(nlohmann::json::parse(imported.output)["new_classes"], nlohmann::json({"LOW", "RISE", "TRILL"}));
    const auto again = run("import --station " + station);
    EXPECT_EQ(again.status, 0) << again.errors;
    EXPECT_EQ(nlohmann::json::parse(again.output)["recordings"], 28);

    const auto fit = run("fit --dataset " + station + "/dataset --out " + station +
                         "/m.safetensors --architecture small --hop 512 --mels 64 --epochs 1 --batch 8 --strict");
    EXPECT_EQ(fit.status, 0) << fit.errors;
    EXPECT_EQ(read_bundle(folder_ / "m.safetensors").labels.size(), 3U);
}

TEST_F(ChorusTrain, PrintsNothingButJsonOnItsOutput) {
    write_tone_dataset(folder_ / "dataset", 24, 4);
    write_text(folder_ / "dataset/audio/POND/POND_3_0_3.wav", "no sound");
    const auto dataset = (folder_ / "dataset").string();
    const auto model = (folder_ / "m.safetensors").string();
    const auto cache = folder_ / "cache";
    const auto fitted =
        run("fit --dataset " + dataset + " --out " + model + " --cache " + cache.string() +
            " --architecture small --hop 512 --mels 32 --epochs 1 --batch 8 --threads 1 --precision float");
    ASSERT_EQ(fitted.status, 0) << fitted.errors;
    const auto report = nlohmann::json::parse(fitted.output);
    EXPECT_EQ(report["bundle"], model);
    EXPECT_EQ(report["id"], read_bundle(model).id);
    EXPECT_EQ(report["left_out"]["count"], 1);
    EXPECT_THAT(fitted.errors, HasSubstr("POND_3_0_3.wav: cannot be read as sound"));

    const auto page = folder_ / "run.html";
    const auto reported =
        run("evaluate --threads 1 --model " + model + " --dataset " + dataset + " --report " + page.string());
    EXPECT_EQ(reported.status, 0) << reported.errors;
    std::ifstream file(page);
    const std::string html(std::istreambuf_iterator<char>(file), {});
    EXPECT_THAT(html, HasSubstr("data:image/bmp"));
    EXPECT_TRUE(std::filesystem::exists(folder_ / "run.json"));

    const auto strict =
        run("fit --strict --dataset " + dataset + " --out " + model + " --architecture small --hop 512");
    EXPECT_EQ(strict.status, 1);
    EXPECT_THAT(strict.errors, HasSubstr("POND_3_0_3.wav: cannot be read as sound"));
    EXPECT_THAT(strict.errors, HasSubstr("(strict: 1 in all can't be used)"));

    const auto evaluated =
        run("evaluate --threads 1 --model " + model + " --dataset " + dataset + " --cache " + cache.string());
    ASSERT_EQ(evaluated.status, 0) << evaluated.errors;
    EXPECT_EQ(nlohmann::json::parse(evaluated.output)["test"]["clips"], 4);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(cache), {}), 1) << "all features were there";

    std::filesystem::create_symlink("m.safetensors", folder_ / "current");
    const auto listed = run("models " + folder_.path().string());
    ASSERT_EQ(listed.status, 0) << listed.errors;
    EXPECT_EQ(nlohmann::json::parse(listed.output)[0]["current"], true);
}

TEST_F(ChorusTrain, LearnsFromRecordingsWithRavenTables) {
    for (int recording = 0; recording < 8; ++recording) {
        // Two seconds each of a low tone, nothing, a high tone, nothing.
        std::vector<float> samples(8 * 16000);
        for (std::size_t i = 0; i < samples.size(); ++i) {
            const auto second = i / 16000;
            const float tone = second < 2 ? 0.3F : second >= 4 && second < 6 ? 1.5F : 0.0F;
            samples[i] = 0.1F * std::sin(tone * static_cast<float>(i)) + 0.001F * static_cast<float>(i % 7);
        }
        const auto name = "POND_2026010" + std::to_string(1 + recording) + "_050000";
        write_wav(folder_ / ("dataset/" + name + ".wav"), samples, 16000);
        write_text(folder_ / ("dataset/" + name + ".Table.1.selections.txt"),
                   "Selection\tChannel\tBegin Time (s)\tEnd Time (s)\tSpecies\n1\t1\t0\t2\tLOW\n2\t1\t4\t6\tHIGH\n");
    }
    const auto fitted =
        run("fit --dataset " + (folder_ / "dataset").string() + " --out " + (folder_ / "m.safetensors").string() +
            " --architecture small --hop 512 --mels 32 --epochs 1 --batch 8 --threads 1");
    ASSERT_EQ(fitted.status, 0) << fitted.errors;
    const auto report = nlohmann::json::parse(fitted.output);
    EXPECT_EQ(report["classes"], 2);
    EXPECT_EQ(report["test"]["events"]["classes"].size(), 2U);
    const auto& clips = report["clips"];
    EXPECT_EQ(clips["training"].get<int>() + clips["held_out"].get<int>() + clips["test"].get<int>(), 8 * 6);
    EXPECT_EQ(read_bundle(folder_ / "m.safetensors").labels.at(0).code, "HIGH");
}

TEST_F(ChorusTrain, SaysThatAStationHasNothingNewAndNothingToGoBackTo) {
    std::filesystem::create_directories(folder_ / "models");
    const auto station = " --set retrain.station=" + folder_.path().string();
    const auto nothing = run("retrain" + station);
    EXPECT_EQ(nothing.status, 0);
    EXPECT_EQ(nlohmann::json::parse(nothing.output)["outcome"], "nothing_new");
    EXPECT_EQ(nothing.errors, "nothing new enough: 0 of 0 labels are new, 20 are asked for\n");
    const auto rollback = run("rollback" + station);
    EXPECT_EQ(rollback.status, 1);
    EXPECT_EQ(rollback.errors,
              "chorus-train: " + (folder_ / "models/current").string() + ": is no symbolic link to a bundle\n");
    EXPECT_EQ(run("retrain --set retrain.scope=half").status, 2);
    EXPECT_EQ(run("retrain --set retrain.station=" + (folder_ / "none").string()).status, 1);
}

}  // namespace
}  // namespace chorus
