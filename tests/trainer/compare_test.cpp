#include "trainer/compare.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>
#include <sstream>

#include "config/config_reader.h"
#include "tests/trainer/support.h"
#include "trainer/run_lock.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::string> names_of(std::string_view text) {
    std::vector<std::string> names;
    for (const auto& method : parse_methods(text)) names.push_back(method.name);
    return names;
}

TEST(Methods, AreNamesWithKeysOrWordsForSeveral) {
    EXPECT_THAT(names_of("none,mixup+manifold,mix2,none"), ElementsAre("none", "mixup+manifold", "mix2"));
    EXPECT_THAT(names_of("parts"), ElementsAre("none", "mixup", "manifold", "multimix", "mixup+manifold",
                                               "mixup+multimix", "manifold+multimix", "mix2"));
    EXPECT_EQ(names_of("none,imbalance").size(), 8U);
    EXPECT_EQ(
        parse_methods("mix2:loss.kind=focal:training.sampling=balanced").front().settings,
        (std::vector<Setting>{{"mixing.method", "mix2"}, {"loss.kind", "focal"}, {"training.sampling", "balanced"}}));
    for (const auto* wrong : {"", "none,", "cutmix", "mix2:loss.kind", "mixup+mixup"})
        EXPECT_THROW(parse_methods(wrong), std::invalid_argument) << wrong;
}

TEST(Methods, OfEveryWordHaveOptionsThatTheConfigurationKnows) {
    CompareOptions options;
    options.methods = parse_methods("parts,probabilities,imbalance");
    EXPECT_NO_THROW(validate(options));
    options.methods = parse_methods("none,mix2:loss.kind=focus");
    EXPECT_THROW(validate(options), ConfigError);
}

class Compare : public testing::Test {
  protected:
    Compare() {
        write_tone_dataset(folder_ / "dataset", 12, 4);
        options_.fit.dataset = folder_ / "dataset";
        options_.settings = {{"model.architecture", "small"},
                             {"front_end.hop", "512"},
                             {"front_end.mels", "32"},
                             {"training.epochs", "1"},
                             {"training.batch", "4"}};
        options_.methods = parse_methods("none,mix2:loss.kind=focal");
        options_.seeds = 2;
        options_.out = folder_ / "out";
    }

    nlohmann::json run() { return compare(options_, progress_); }

    TemporaryFolder folder_;
    CompareOptions options_;
    std::ostringstream shown_;
    Progress progress_{shown_, Progress::Style::kPlain};
};

TEST_F(Compare, GoesOnWhereItWasStoppedAndDoesNothingTwice) {
    int asked = 0;
    bool is_stopped = false;
    const auto first = options_.out / "none-1.json";
    options_.fit.must_stop = [&] {
        ++asked;
        return !is_stopped && (is_stopped = std::filesystem::exists(first));
    };
    EXPECT_THROW(run(), Interrupted);
    const auto written = std::filesystem::last_write_time(first);
    ASSERT_FALSE(std::filesystem::exists(options_.out / "none-2.json"));

    const auto table = run();
    EXPECT_EQ(std::filesystem::last_write_time(first), written);
    ASSERT_EQ(table["methods"].size(), 2U);
    EXPECT_EQ(table["clips_of"], "test");
    for (const auto& method : table["methods"]) {
        EXPECT_EQ(method["seeds"], nlohmann::json({1, 2}));
        EXPECT_EQ(method["figures"]["mean_average_precision"]["by_seed"].size(), 2U);
    }
    EXPECT_EQ(table["methods"][1]["method"], "mix2:loss.kind=focal");
    EXPECT_EQ(nlohmann::json::parse(read_text(options_.out / "comparison.json")), table);
    EXPECT_THAT(read_text(options_.out / "comparison.md"), HasSubstr("| mix2:loss.kind=focal | 2 |"));
    const auto kept = nlohmann::json::parse(read_text(options_.out / "mix2_loss.kind_focal-2.json"));
    EXPECT_EQ(kept["report"]["training"]["seed"], 2);
    EXPECT_EQ(kept["report"]["training"]["loss"]["kind"], "focal");
    EXPECT_TRUE(std::filesystem::exists(options_.out / "mix2_loss.kind_focal-2.safetensors"));

    const int before = asked;
    EXPECT_EQ(run(), table);
    EXPECT_EQ(asked, before) << "no step was done";

    options_.settings.emplace_back("optimiser.learning_rate", "0.001");
    EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<std::runtime_error>(
                                    HasSubstr("none-1.json: is of a training with other options or data")));
}

TEST_F(Compare, LeavesATrainingToAnotherProcessThatIsAtIt) {
    options_.methods = parse_methods("none,mixup");
    options_.seeds = 1;
    std::filesystem::create_directories(options_.out);
    {
        const RunLock other(options_.out / "none-1.lock");
        EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<std::runtime_error>(
                                        testing::AllOf(HasSubstr("1 of 2 trainings failed; the first: none, seed 1: "),
                                                       HasSubstr("held by process "))));
    }
    EXPECT_FALSE(std::filesystem::exists(options_.out / "none-1.json"));
    EXPECT_EQ(run()["methods"].size(), 2U);
}

TEST_F(Compare, TrainsTheOtherMethodsWhereOneFails) {
    options_.methods = parse_methods("none,mixup");
    options_.seeds = 1;
    std::filesystem::create_directories(options_.out / "none-1.safetensors");  // no bundle can take its place
    EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<std::runtime_error>(
                                    HasSubstr("1 of 2 trainings failed; the first: none, seed 1: ")));
    EXPECT_THAT(read_text(options_.out / "comparison.md"), HasSubstr("| mixup | 1 |"));
}

}  // namespace
}  // namespace chorus
