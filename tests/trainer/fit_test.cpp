#include "trainer/fit.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "tests/trainer/support.h"
#include "trainer/evaluate.h"
#include "trainer/model_list.h"
#include "trainer/splits.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

using testing::HasSubstr;

class Fit : public testing::Test {
  protected:
    FitOptions coarse_options() {
        FitOptions options;
        options.dataset = folder_ / "dataset";
        options.out = folder_ / "model.safetensors";
        options.front_end.hop = 512;
        options.front_end.mels = 32;
        options.training.architecture = Architecture::kMobileNetV3Small;
        options.training.batch = 16;
        options.training.epochs = 2;
        options.training.threads = 1;
        options.training.device = "cpu";
        // Narrower masks: a window has a quarter of the mels of the paper's.
        options.training.augmentation.frequency_mask_width = 3;
        return options;
    }

    nlohmann::json run(const FitOptions& options) { return fit(options, progress_); }

    TemporaryFolder folder_;
    std::ostringstream shown_;
    Progress progress_{shown_, Progress::Style::kPlain};
};

TEST_F(Fit, LearnsToTellTonesApart) {
    write_tone_dataset(folder_ / "dataset", 200, 60);
    auto options = coarse_options();
    options.training.epochs = 8;
    const auto report = run(options);
    EXPECT_GT(report["test"]["macro_f1"]["calibrated"]["all_classes"].get<double>(), 0.8) << report.dump(1);
    EXPECT_GT(report["test"]["mean_average_precision"].get<double>(), 0.85);
    EXPECT_EQ(report["clips"]["test"], 60);
    EXPECT_EQ(report["clips"]["training"].get<int>() + report["clips"]["held_out"].get<int>(), 200);
    EXPECT_EQ(report["left_out"]["count"], 0);

    const auto bundle = read_bundle(options.out);
    EXPECT_EQ(bundle.id, report["id"]);
    EXPECT_EQ(bundle.labels.at(1).code, "RISE");
    EXPECT_EQ(bundle.front_end, options.front_end);
    EXPECT_EQ(bundle.dataset_hash.size(), 64U);
    EXPECT_EQ(nlohmann::json::parse(bundle.metrics)["test"], report["test"]);

    const auto again = evaluate({.model = options.out, .dataset = options.dataset}, progress_);
    EXPECT_EQ(again["test"], report["test"]) << "groups, training positives and intervals are the bundle's, too";
    EXPECT_EQ(again["test"]["classes"][0]["f1_95"].size(), 2U);
    EXPECT_EQ(evaluate({.model = options.out, .dataset = options.dataset, .subset = {}}, progress_)["all"]["clips"],
              260);

    const auto rule = nlohmann::json::parse(bundle.threshold_rule);
    EXPECT_EQ(rule["rule"], "f-beta");
    EXPECT_EQ(rule["held_out_recordings"], report["clips"]["held_out"]);
    EXPECT_EQ(rule["held_out_positives"].size(), 3U);

    const auto models = list_models(folder_.path());
    ASSERT_EQ(models.size(), 1U);
    EXPECT_EQ(models[0]["id"], bundle.id);
    EXPECT_EQ(models[0]["current"], false);
}

TEST_F(Fit, KeepsTheLastEpochAndPlainThresholdsWithNothingHeldOut) {
    // SHA-256 puts neither POND_0 nor POND_1 among the held-out recordings.
    write_tone_dataset(folder_ / "dataset", 2, 0);
    write_wav(folder_ / "noise/rain.wav", std::vector<float>(7 * 16000, 0.1F), 16000);
    auto options = coarse_options();
    options.background = folder_ / "noise";
    EXPECT_THAT([&] { run(options); }, testing::ThrowsMessage<std::runtime_error>(HasSubstr("is silent")));
    write_tone_dataset(folder_ / "noise", 2, 0);
    const auto report = run(options);
    EXPECT_EQ(report["background_windows"], 2);
    EXPECT_EQ(report["clips"]["held_out"], 0);
    EXPECT_EQ(report["training"]["best_epoch"], 2);
    EXPECT_TRUE(report["test"].is_null());
    EXPECT_THAT(read_bundle(folder_ / "model.safetensors").thresholds, testing::Each(0.5F));
}

TEST_F(Fit, SaysOfWhichClassesNothingIsHeldOut) {
    write_tone_dataset(folder_ / "dataset", 24, 0);
    std::istringstream lines(read_text(folder_ / "dataset/metadata.csv"));
    std::string manifest;
    int clip = -1;  // the header
    for (std::string line; std::getline(lines, line); ++clip)
        manifest += line + (clip < 0 ? ",ONCE\n" : clip == 0 ? ",1\n" : ",0\n");  // POND_0 is not held out
    write_text(folder_ / "dataset/metadata.csv", manifest);
    auto options = coarse_options();
    options.training.epochs = 1;
    testing::internal::CaptureStderr();
    const auto report = run(options);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                testing::AllOf(HasSubstr("no held-out recording has "), HasSubstr("ONCE, to choose a threshold by\n"),
                               testing::Not(HasSubstr("LOW"))));
    EXPECT_GT(report["clips"]["held_out"], 0);
}

TEST_F(Fit, RefusesAPathItCannotWriteBeforeItTrains) {
    auto options = coarse_options();
    options.out = folder_ / "none/model.safetensors";
    EXPECT_THAT([&] { run(options); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("its folder does not exist")));
    options.out = folder_.path();
    EXPECT_THAT([&] { run(options); }, testing::ThrowsMessage<std::runtime_error>(HasSubstr("is a folder")));
}

TEST_F(Fit, IsStoppedWhileItReadsTheSounds) {
    write_tone_dataset(folder_ / "dataset", 20, 4);
    auto options = coarse_options();
    int asked = 0;
    options.must_stop = [&] { return ++asked == 3; };
    EXPECT_THAT([&] { run(options); },
                testing::ThrowsMessage<Interrupted>(testing::HasSubstr("stopped while features were computed")));
    EXPECT_EQ(asked, 3);
    EXPECT_FALSE(std::filesystem::exists(options.out));
}

TEST_F(Fit, LearnsFromADatedDatasetWhenItsClassesCall) {
    // 120 recordings of a clip each, half of them at 05:00 with DAWN, half at 17:00 without it.
    std::string manifest = "fname,min_t,max_t,subset,DAWN\n";
    for (int clip = 0; clip < 120; ++clip) {
        const bool dawn = clip % 2 == 0;
        const auto recording = fmt::format("POND_202605{:02}_{}{:02}00", 1 + clip / 8, dawn ? "05" : "17", clip % 8);
        std::vector<float> samples(66150);
        for (std::size_t i = 0; i < samples.size(); ++i)
            samples[i] = 0.1F * std::sin((dawn ? 0.17F : 0.8F) * static_cast<float>(i));
        write_wav(folder_ / "dataset/audio/POND" / (recording + "_0_3.wav"), samples, 22050);
        manifest += fmt::format("{},0,3,train,{}\n", recording, dawn ? 1 : 0);
    }
    write_text(folder_ / "dataset/metadata.csv", manifest);
    auto options = coarse_options();
    options.training.epochs = 1;
    const auto report = run(options);

    const auto activity = read_bundle(options.out).activity;
    ASSERT_TRUE(activity.has_value()) << report.dump(1);
    EXPECT_EQ(activity->recordings, report["clips"]["training"]) << "the held-out ones teach nothing";
    const auto shift = [&](int hour) { return activity->shifts[static_cast<std::size_t>(4 * 24 + hour)]; };
    EXPECT_GT(shift(5), 0.5F);
    EXPECT_LT(shift(17), -0.5F);
    EXPECT_EQ(shift(0), 0.0F) << "nobody recorded at night";
}

TEST_F(Fit, RefusesOptionsThatMakeNoSense) {
    auto options = coarse_options();
    options.training.batch = 1;
    EXPECT_THAT([&] { run(options); }, testing::ThrowsMessage<std::invalid_argument>(HasSubstr("batch must be")));
}

TEST_F(Fit, JudgesOnlyClassesThatBundleAndDatasetShare) {
    write_tone_dataset(folder_ / "dataset", 24, 4);
    auto options = coarse_options();
    options.training.epochs = 1;
    run(options);
    write_text(folder_ / "other/metadata.csv", "fname,min_t,max_t,subset,OTHER,TRILL\nS_a,0,3,test,1,1\n");
    std::vector<float> samples(66150);
    for (std::size_t i = 0; i < samples.size(); ++i) samples[i] = 0.1F * std::sin(0.3F * static_cast<float>(i));
    write_wav(folder_ / "other/audio/S/S_a_0_3.wav", samples, 22050);
    const auto report = evaluate({.model = options.out, .dataset = folder_ / "other"}, progress_);
    EXPECT_EQ(report["labels_without_class"], nlohmann::json({"LOW", "RISE"}));
    EXPECT_EQ(report["classes_without_label"], nlohmann::json({"OTHER"}));
    ASSERT_EQ(report["test"]["classes"].size(), 1U);
    EXPECT_EQ(report["test"]["classes"][0]["code"], "TRILL");
    EXPECT_EQ(report["test"]["classes"][0]["support"], 1);
}

TEST_F(Fit, SaysWhenADatasetKnowsNoneOfTheBundlesClasses) {
    write_tone_dataset(folder_ / "dataset", 24, 4);
    auto options = coarse_options();
    options.training.epochs = 1;
    run(options);
    write_text(folder_ / "other/metadata.csv", "fname,min_t,max_t,subset,OTHER\nS_a,0,3,test,1\n");
    write_wav(folder_ / "other/audio/S/S_a_0_3.wav", std::vector<float>(66150, 0.1F), 22050);
    EXPECT_THAT([&] { evaluate({.model = options.out, .dataset = folder_ / "other"}, progress_); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("none of the dataset's classes")));
}

TEST_F(Fit, ListsABundleThatCannotBeUsedWithItsFault) {
    write_text(folder_ / "broken.safetensors", "no bundle");
    const auto models = list_models(folder_.path());
    ASSERT_EQ(models.size(), 1U);
    EXPECT_THAT(models[0]["error"].get<std::string>(), HasSubstr("broken.safetensors"));
    EXPECT_THROW(list_models(folder_ / "none"), std::runtime_error);
}

/// Of the tones' recordings: all classes but TRILL in one data set, TRILL alone in another, with three clips that hold
/// it and six that don't to train on, none of them held out.
void divide_tones(const std::filesystem::path& folder) {
    write_tone_dataset(folder, 80, 40);
    std::ifstream file(folder / "metadata.csv");
    std::string line;
    std::getline(file, line);
    std::string others = "fname,min_t,max_t,subset,LOW,RISE\n";
    std::string few = "fname,min_t,max_t,subset,TRILL\n";
    int with = 0;
    int without = 0;
    for (int clip = 0; std::getline(file, line); ++clip) {
        const auto recording = "POND_" + std::to_string(clip);
        const bool is_test = clip >= 80;
        const auto row = recording + ",0,3," + (is_test ? "test," : "train,");
        others += row + line.substr(line.size() - 5, 3) + '\n';
        const bool trills = line.ends_with('1');
        if (is_test || (!is_held_out(recording) && (trills ? with++ < 3 : without++ < 6)))
            few += row + line.back() + '\n';
    }
    std::filesystem::create_directories(folder / "few");
    std::filesystem::create_directory_symlink(folder / "audio", folder / "few/audio");
    write_text(folder / "few/metadata.csv", few);
    write_text(folder / "metadata.csv", others);
}

TEST_F(Fit, LearnsANewClassFromThreeClipsAndKeepsTheOthers) {
    divide_tones(folder_ / "dataset");
    auto options = coarse_options();
    options.front_end.mels = 64;
    options.training.epochs = 10;
    // Wide masks that hide for certain, so that it looks at all of a window.
    options.training.augmentation = {.mask_fill = MaskFill::kZero};
    run(options);
    const auto parent = read_bundle(options.out);

    options.init = options.out;
    options.out = folder_ / "grown.safetensors";
    options.dataset = folder_ / "dataset/few";
    options.front_end = {};
    options.training.epochs = 0;
    const auto report = run(options);
    const auto grown = read_bundle(options.out);
    ASSERT_EQ(grown.labels.size(), 3U);
    EXPECT_EQ(grown.labels[2].code, "TRILL");
    EXPECT_EQ(grown.parent, parent.id);
    EXPECT_EQ(grown.front_end, parent.front_end);
    ASSERT_EQ(report["test"]["classes"].size(), 1U) << "nothing is known of the other two in these clips";
    EXPECT_GT(report["test"]["classes"][0]["average_precision"].get<double>(), 0.7)
        << "by chance it would be the share of clips that hold it, 0.4: " << report["test"].dump(1);
    for (const auto& [name, tensor] : parent.tensors) {
        const auto& bytes = grown.tensors.at(name).bytes;
        EXPECT_EQ(std::vector(bytes.begin(), bytes.begin() + std::ssize(tensor.bytes)), tensor.bytes) << name;
    }
    EXPECT_EQ(grown.thresholds[0], parent.thresholds[0]);
    EXPECT_EQ(grown.thresholds[1], parent.thresholds[1]);

    // Trained further, the head alone changes; what it says of the known classes stays near to what the parent says.
    options.training.epochs = 2;
    options.training.batch = 4;
    options.training.freeze = Freeze::kNetwork;
    run(options);
    const auto frozen = read_bundle(options.out);
    for (const auto& [name, tensor] : parent.tensors) {
        if (name.starts_with("head.")) continue;
        EXPECT_EQ(frozen.tensors.at(name).bytes, tensor.bytes) << name;
    }
    EXPECT_NE(frozen.tensors.at("head.weight").bytes, grown.tensors.at("head.weight").bytes);
    testing::internal::CaptureStderr();
    options.training.freeze = Freeze::kNothing;
    options.out = folder_ / "whole.safetensors";
    run(options);
    EXPECT_THAT(testing::internal::GetCapturedStderr(),
                testing::HasSubstr("2 of the parent's 2 classes have no labels here and may be lost"));
    options.out = folder_ / "grown.safetensors";

    const auto before = evaluate({.model = options.init, .dataset = folder_ / "dataset"}, progress_);
    const auto after = evaluate({.model = options.out, .dataset = folder_ / "dataset"}, progress_);
    EXPECT_NEAR(after["test"]["mean_average_precision"].get<double>(),
                before["test"]["mean_average_precision"].get<double>(), 0.05);
}

TEST_F(Fit, NeedsABundleToTrainNothing) {
    auto options = coarse_options();
    options.training.epochs = 0;
    EXPECT_THAT([&] { run(options); },
                testing::ThrowsMessage<std::invalid_argument>(HasSubstr("need a bundle to begin with")));
    options.training.epochs = 1;
    options.training.freeze = Freeze::kEmbeddings;
    EXPECT_THROW(run(options), std::invalid_argument);
}

}  // namespace
}  // namespace chorus
