#include "trainer/model_folder.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "tests/trainer/support.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

class Models : public testing::Test {
  protected:
    Models() : starter_(read_bundle(fs::path(CHORUS_TEST_DATA) / "../../model/starter/animals.safetensors")) {}

    /// A bundle of this name, or of its id; returns the id.
    std::string make(const std::string& parent, std::string name = {}) {
        auto bundle = starter_;
        bundle.parent = parent;
        bundle.created = std::to_string(++made_);
        const auto beside = folder_ / "beside";
        const auto id = write_bundle(beside, bundle);
        if (name.empty()) name = id;
        fs::rename(beside, folder_ / (name + ".safetensors"));
        fs::last_write_time(folder_ / (name + ".safetensors"),
                            fs::file_time_type::clock::now() - std::chrono::hours(100 - made_));
        return id;
    }
    void link(const std::string& target) { fs::create_symlink(target, folder_ / "current"); }
    std::string served() { return read_bundle(ModelFolder(folder_.path()).current()).id; }

    std::string text(const std::string& name) {
        std::ifstream file(folder_ / name, std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    std::vector<std::string> names() {
        std::vector<std::string> found;
        for (const auto& entry : fs::directory_iterator(folder_.path())) found.push_back(entry.path().filename());
        return found;
    }

    /// The promotion of a candidate that lies in work/.
    ModelChange promotion(const std::string& candidate, const std::string& from) {
        return {.renames = {{"work/candidate", candidate + ".safetensors"}},
                .history = {{"candidate", candidate}},
                .current = candidate + ".safetensors",
                .candidate = {},
                .expected = from};
    }
    std::string make_candidate(const std::string& parent) {
        const auto id = make(parent);
        fs::create_directories(folder_ / "work");
        fs::rename(folder_ / (id + ".safetensors"), folder_ / "work/candidate");
        return id;
    }

    TemporaryFolder folder_;
    Bundle starter_;
    int made_ = 0;
};

TEST_F(Models, PromoteByALinkAndALineOfHistory) {
    const auto first = make("", "frogs");
    link("frogs.safetensors");
    const auto second = make_candidate(first);
    ModelFolder models(folder_.path());
    EXPECT_TRUE(models.apply(promotion(second, first)));
    EXPECT_EQ(served(), second);
    EXPECT_EQ(fs::read_symlink(folder_ / "current"), second + ".safetensors");
    EXPECT_EQ(text("history.jsonl"), "{\"candidate\":\"" + second + "\"}\n");
    EXPECT_THAT(names(),
                UnorderedElementsAre("frogs.safetensors", second + ".safetensors", "current", "history.jsonl", "work"));
}

TEST_F(Models, KeepACandidateThatWasRefusedAndTheLinkAsItWas) {
    const auto first = make("");
    link(first + ".safetensors");
    const auto second = make_candidate(first);
    auto change = promotion(second, first);
    change.current.clear();
    EXPECT_TRUE(ModelFolder(folder_.path()).apply(change));
    EXPECT_EQ(served(), first);
    EXPECT_TRUE(fs::exists(folder_ / (second + ".safetensors")));
}

TEST_F(Models, DoNothingWhereSomebodyElseChangedTheLink) {
    const auto first = make("");
    const auto other = make("");
    link(other + ".safetensors");
    const auto second = make_candidate(first);
    EXPECT_FALSE(ModelFolder(folder_.path()).apply(promotion(second, first)));
    EXPECT_EQ(served(), other);
    EXPECT_EQ(text("history.jsonl"), "");
    EXPECT_TRUE(fs::exists(folder_ / "work/candidate"));
}

TEST_F(Models, AreTheSameWhateverStepAPromotionWasEndedAfter) {
    struct Ended {};
    const auto first = make("", "frogs");
    link("frogs.safetensors");
    const auto second = make_candidate(first);
    TemporaryFolder untouched;
    fs::copy(folder_.path(), untouched.path(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    int ended = 0;
    for (int last = 1;; ++last) {
        fs::remove_all(folder_.path());
        fs::copy(untouched.path(), folder_.path(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
        int steps = 0;
        ModelFolder models(folder_.path(), [&] {
            if (++steps == last) throw Ended();
        });
        try {
            models.apply(promotion(second, first));
            break;
        } catch (const Ended&) {
            ++ended;
        }
        EXPECT_THAT(served(), testing::AnyOf(first, second)) << "never without a model";
        ModelFolder(folder_.path()).settle();
        ModelFolder(folder_.path()).settle();
        EXPECT_EQ(served(), second) << "after step " << last;
        EXPECT_EQ(text("history.jsonl"), "{\"candidate\":\"" + second + "\"}\n");
        EXPECT_THAT(names(), UnorderedElementsAre("frogs.safetensors", second + ".safetensors", "current",
                                                  "history.jsonl", "work"));
    }
    EXPECT_EQ(ended, 5) << "written down, renamed, in the history, linked, settled";
}

TEST_F(Models, RunOneInTheShadowOfAnother) {
    const auto first = make("");
    link(first + ".safetensors");
    ModelFolder models(folder_.path());
    EXPECT_FALSE(models.shadowed().has_value());
    const auto second = make_candidate(first);
    auto change = promotion(second, first);
    change.candidate = std::exchange(change.current, "");
    EXPECT_TRUE(models.apply(change));
    EXPECT_EQ(served(), first);
    ASSERT_TRUE(models.shadowed().has_value());
    EXPECT_EQ(models.shadowed()->bundle.filename(), second + ".safetensors");
    EXPECT_NEAR(models.shadowed()->hours, 0.0, 0.1);
    for (int i = 0; i < 3; ++i) make(first);
    models.remove_old(0);
    EXPECT_THAT(names(), UnorderedElementsAre(first + ".safetensors", second + ".safetensors", "current", "candidate",
                                              "history.jsonl", "work"));

    change = promotion(second, first);
    change.renames.clear();
    change.history = {{"candidate", "promoted"}};
    change.candidate = "";
    EXPECT_TRUE(models.apply(change));
    EXPECT_EQ(served(), second);
    EXPECT_FALSE(models.shadowed().has_value());
    fs::create_symlink("gone.safetensors", folder_ / "candidate");
    EXPECT_FALSE(models.shadowed().has_value());
    models.roll_back();
    EXPECT_FALSE(fs::is_symlink(folder_ / "candidate")) << "it was to follow the one that is gone";
}

TEST_F(Models, DropWhatALossOfPowerLeftOfALine) {
    const auto first = make("");
    link(first + ".safetensors");
    write_text(folder_ / "history.jsonl", "{\"a\":1}\n{\"b\":");
    ModelFolder(folder_.path())
        .apply({.renames = {}, .history = {{"c", 3}}, .current = {}, .candidate = {}, .expected = first});
    EXPECT_EQ(text("history.jsonl"), "{\"a\":1}\n{\"c\":3}\n");
}

TEST_F(Models, GoBackToTheParentWhateverItIsCalled) {
    const auto first = make("", "frogs");
    const auto second = make(first);
    const auto third = make(second);
    link(third + ".safetensors");
    ModelFolder models(folder_.path());
    const auto line = models.roll_back();
    EXPECT_EQ(line["was"], third);
    EXPECT_EQ(line["current"], second);
    EXPECT_EQ(served(), second);
    models.roll_back();
    EXPECT_EQ(served(), first);
    EXPECT_EQ(fs::read_symlink(folder_ / "current"), "frogs.safetensors");
    const auto history = text("history.jsonl");
    EXPECT_EQ(std::count(history.begin(), history.end(), '\n'), 2);
    EXPECT_THAT([&] { models.roll_back(); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("has no parent to go back to")));
}

TEST_F(Models, SayThatTheParentIsGone) {
    const auto orphan = make("0123456789abcdef");
    link(orphan + ".safetensors");
    EXPECT_THAT([&] { ModelFolder(folder_.path()).roll_back(); },
                testing::ThrowsMessage<std::runtime_error>(
                    HasSubstr("0123456789abcdef, the parent of the current model " + orphan + ", is not in it")));
    EXPECT_EQ(served(), orphan);
}

TEST_F(Models, EndAnInterruptedPromotionBeforeTheyGoBack) {
    struct Ended {};
    const auto first = make("", "frogs");
    link("frogs.safetensors");
    const auto second = make_candidate(first);
    ModelFolder interrupted(folder_.path(), [] { throw Ended(); });
    EXPECT_THROW(interrupted.apply(promotion(second, first)), Ended);
    EXPECT_EQ(ModelFolder(folder_.path()).roll_back()["was"], second);
    EXPECT_EQ(served(), first);
    ModelFolder(folder_.path()).settle();
    EXPECT_EQ(served(), first) << "nothing promotes it again";
}

TEST_F(Models, LetOldOnesGoButNeverTheCurrentOneItsParentOrOnesNamedByHand) {
    const auto parent = make("");
    const auto current = make(parent);
    make("", "by-hand");
    std::vector<std::string> others;
    for (int i = 0; i < 4; ++i) others.push_back(make(parent));
    link(current + ".safetensors");
    for (const auto& id : {parent, others[0], others[3]}) {
        write_text(folder_ / "reports" / (id + ".html"), "page");
        write_text(folder_ / "reports" / (id + ".json"), "{}");
    }
    ModelFolder(folder_.path()).remove_old(2);
    EXPECT_THAT(names(),
                UnorderedElementsAre(parent + ".safetensors", current + ".safetensors", "by-hand.safetensors",
                                     others[2] + ".safetensors", others[3] + ".safetensors", "current", "reports"));
    EXPECT_FALSE(fs::exists(folder_ / "reports" / (others[0] + ".html")));
    EXPECT_TRUE(fs::exists(folder_ / "reports" / (others[3] + ".json")));
    EXPECT_TRUE(fs::exists(folder_ / "reports" / (parent + ".html")));
}

TEST_F(Models, AskForALinkToABundle) {
    EXPECT_THAT([&] { ModelFolder(folder_.path()).current(); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("current: is no symbolic link to a bundle")));
    link("nothing.safetensors");
    EXPECT_THAT([&] { ModelFolder(folder_.path()).current(); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("current: No such file")));
    fs::remove(folder_ / "current");
    make("", "current");
    fs::rename(folder_ / "current.safetensors", folder_ / "current");
    EXPECT_THROW(ModelFolder(folder_.path()).roll_back(), std::runtime_error);
    EXPECT_TRUE(fs::is_regular_file(folder_ / "current")) << "it would have been lost";
}

}  // namespace
}  // namespace chorus
