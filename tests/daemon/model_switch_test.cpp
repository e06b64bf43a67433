// The bundle that a path names becomes another one: real files, real links, real inotify.

#include "daemon/model_switch.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <fstream>

#include "tests/daemon/fakes.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::SizeIs;
using testing::StartsWith;
namespace fs = std::filesystem;
using Kind = ModelFinding::Kind;

/// Writes a bundle of these classes; returns its id.
std::string write(const fs::path& path, const std::vector<std::string>& codes, double window_seconds = 1.0) {
    auto bundle = tone_bundle();
    bundle.front_end.window_seconds = window_seconds;
    bundle.labels.clear();
    for (const auto& code : codes) bundle.labels.push_back({.code = code, .name = "", .group = ""});
    bundle.thresholds.assign(codes.size(), 0.35F);
    const std::vector<float> zeros(codes.size() * 4);
    const auto classes = static_cast<std::int64_t>(codes.size());
    bundle.tensors["head.weight"] = to_stored(zeros, {classes, 4}, TensorType::kFloat32);
    bundle.tensors["head.bias"] = to_stored(std::span(zeros).first(codes.size()), {classes}, TensorType::kFloat32);
    return write_bundle(path, bundle);
}

/// As promotion does it.
void link_atomically(const fs::path& to, const fs::path& link) {
    const auto next = link.string() + ".next";
    fs::create_symlink(to, next);
    fs::rename(next, link);
}

/// Scores every class as the tone.
class AnyClassifier : public ToneClassifier {
  public:
    AnyClassifier(const FrontEndParameters& front_end, std::size_t classes)
        : ToneClassifier({}, front_end), classes_(classes) {}
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        for (std::size_t i = 0; i < windows.size(); ++i) {
            auto row = scores.subspan(i * classes_, classes_);
            ToneClassifier::score(windows.subspan(i, 1), row.first(1));
            std::fill(row.begin() + 1, row.end(), row[0]);
        }
    }
    std::size_t classes() const override { return classes_; }

  private:
    const std::size_t classes_;
};

/// Fails with every window.
class FailingClassifier : public ToneClassifier {
  public:
    void score(std::span<const std::span<const float>>, std::span<float>) override {
        throw std::runtime_error("out of order");
    }
};

/// The model of a class WORN fails.
std::shared_ptr<const Model> make(const fs::path&, Bundle bundle) {
    if (has_class(bundle, "WORN"))
        return std::make_shared<const Model>(std::move(bundle), std::make_unique<FailingClassifier>(), 1);
    auto classifier = std::make_unique<AnyClassifier>(bundle.front_end, bundle.labels.size());
    return std::make_shared<const Model>(std::move(bundle), std::move(classifier), 1);
}

class ModelLoaderTest : public testing::Test {
  protected:
    ModelLoaderTest() {
        first_ = write(folder_ / "first", {"FROG"});
        second_ = write(folder_ / "second", {"FROG", "TOAD"});
        fs::create_symlink("first", current_);
    }
    /// The next thing found.
    ModelFinding next(ModelLoader& loader) {
        std::vector<ModelFinding> findings;
        EXPECT_TRUE(eventually([&] {
            findings = loader.take();
            return !findings.empty();
        }));
        EXPECT_THAT(findings, SizeIs(1));
        return findings.empty() ? ModelFinding() : findings.front();
    }

    const TemporaryFolder folder_;
    const fs::path current_ = folder_ / "current";
    std::string first_;
    std::string second_;
};

TEST_F(ModelLoaderTest, SeesALinkThatIsRenamedOverTheOldOne) {
    ModelLoader loader("model", current_, first_, make);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    link_atomically("second", current_);
    const auto found = next(loader);
    ASSERT_EQ(found.kind, Kind::kLoaded);
    EXPECT_EQ(found.model->id(), second_);
    EXPECT_THAT(found.model->bundle().tensors, testing::IsEmpty()) << "the classifiers have them";
    link_atomically("first", current_);
    EXPECT_EQ(next(loader).model->id(), first_);
}

TEST_F(ModelLoaderTest, SeesALinkThatIsMadeAnew) {
    ModelLoader loader("model", current_, first_, make);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    fs::remove(current_);  // as `ln -sfn` does
    fs::create_symlink(folder_ / "second", current_);
    EXPECT_EQ(next(loader).model->id(), second_);
}

TEST_F(ModelLoaderTest, SeesTheFileBehindTheLinkReplaced) {
    const TemporaryFolder elsewhere;
    write(elsewhere / "bundle", {"FROG"});
    link_atomically(elsewhere / "bundle", current_);
    ModelLoader loader("model", current_, first_, make);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    const auto third = write(elsewhere / "bundle", {"NEWT"});
    EXPECT_EQ(next(loader).model->id(), third);
}

TEST_F(ModelLoaderTest, SeesAFileThatIsWrittenInPlaceOnceItIsWhole) {
    const auto path = folder_ / "plain";
    fs::copy_file(folder_ / "first", path);
    ModelLoader loader("model", path, first_, make);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    std::ifstream in(folder_ / "second", std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), {}};
    {
        std::ofstream out(path, std::ios::binary);
        out << bytes.substr(0, bytes.size() / 2) << std::flush;
        std::this_thread::sleep_for(300ms);  // longer than it waits for changes to settle
        EXPECT_THAT(loader.take(), testing::IsEmpty());
        out << bytes.substr(bytes.size() / 2);
    }
    EXPECT_EQ(next(loader).model->id(), second_);
}

TEST_F(ModelLoaderTest, SaysWhatIsWrongInOneLineAndGoesOnWatching) {
    ModelLoader loader("model", current_, first_, make);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    std::ofstream(folder_ / "broken") << "no bundle at all";
    link_atomically("broken", current_);
    auto found = next(loader);
    EXPECT_EQ(found.kind, Kind::kFailed);
    EXPECT_THAT(found.failure, StartsWith(current_.string() + ": "));
    EXPECT_THAT(found.failure, testing::Not(HasSubstr("\n")));
    fs::remove(current_);
    EXPECT_EQ(next(loader).kind, Kind::kAbsent);
    fs::create_symlink("second", current_);
    EXPECT_EQ(next(loader).model->id(), second_);
}

TEST_F(ModelLoaderTest, LoadsNothingForOtherFilesOfTheFolderNorTwice) {
    std::atomic<int> made{0};
    ModelLoader loader("model", current_, first_, [&](const fs::path& path, Bundle bundle) {
        ++made;
        return make(path, std::move(bundle));
    });
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    write(folder_ / "third", {"CROW"});
    std::ofstream(folder_ / "history.jsonl") << "{}\n";
    link_atomically("second", current_);
    EXPECT_EQ(next(loader).model->id(), second_);
    fs::last_write_time(folder_ / "second", fs::file_time_type::clock::now());
    loader.look(current_, second_);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    EXPECT_EQ(made, 1);
}

TEST_F(ModelLoaderTest, LooksElsewhereWhenAskedTo) {
    ModelLoader loader("model", "", "", make);
    EXPECT_EQ(next(loader).kind, Kind::kAbsent);
    loader.look(folder_ / "second", "");
    EXPECT_EQ(next(loader).model->id(), second_);
    write(folder_ / "second", {"NEWT"});
    EXPECT_EQ(next(loader).kind, Kind::kLoaded) << "it watches there";
}

TEST_F(ModelLoaderTest, SeesThatTheFolderIsRenamedAway) {
    fs::create_directory(folder_ / "models");
    fs::copy_file(folder_ / "first", folder_ / "models/current");
    ModelLoader loader("model", folder_ / "models/current", first_, make, 1h);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    fs::rename(folder_ / "models", folder_ / "away");
    EXPECT_EQ(next(loader).kind, Kind::kAbsent);
}

TEST_F(ModelLoaderTest, FindsAFolderThatComesLaterOrIsReplaced) {
    const auto come = [&](const char* bundle) {
        fs::create_directory(folder_ / "coming");
        fs::copy_file(folder_ / bundle, folder_ / "coming/current");
        fs::rename(folder_ / "coming", folder_ / "models");
    };
    ModelLoader loader("model", folder_ / "models/current", "", make, 10ms);
    EXPECT_EQ(next(loader).kind, Kind::kAbsent);
    come("first");
    EXPECT_EQ(next(loader).model->id(), first_);
    fs::remove_all(folder_ / "models");
    EXPECT_EQ(next(loader).kind, Kind::kAbsent);
    come("second");
    EXPECT_EQ(next(loader).model->id(), second_);
    // Of this inotify isn't asked to tell.
    fs::last_write_time(folder_ / "models/current", fs::file_time_type::clock::now() + 1h);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
}

TEST_F(ModelLoaderTest, FindsAFolderThatIsALinkRenamedOver) {
    for (const auto* name : {"first", "second"}) {
        fs::create_directory(folder_ / (std::string(name) + "s"));
        fs::copy_file(folder_ / name, folder_ / (std::string(name) + "s") / "bundle");
    }
    fs::create_symlink("firsts", folder_ / "models");
    ModelLoader loader("model", folder_ / "models/bundle", first_, make, 10ms);
    EXPECT_EQ(next(loader).kind, Kind::kKnown);
    link_atomically("seconds", folder_ / "models");
    EXPECT_EQ(next(loader).model->id(), second_);
}

/// A station that listens, and the switch that holds its model against its configuration.
class ModelSwitchTest : public ModelLoaderTest {
  protected:
    ModelSwitchTest() {
        write_config("");
        config_ = load_station(config_path_).config;
        pipeline_.emplace(config_, make(current_, read_bundle(current_)), sink_, metrics_,
                          [](const SourceConfig&) { return std::make_unique<EndlessSource>(); });
        pipeline_->start();
        switch_.emplace(config_, *pipeline_, sink_, metrics_,
                        [](const fs::path& path, Bundle bundle, std::size_t) { return make(path, std::move(bundle)); });
    }
    void write_config(const std::string& more, const std::string& model = "") {
        std::ofstream(config_path_) << "[station]\nname = 'pond'\n[model]\nbundle = '" << current_.string() << "'\n"
                                    << model << "[analysis]\nhop_seconds = 0.25\n[detection]\n"
                                    << more << "[[source]]\nname = 'mic'\nlaunch = 'audiotestsrc'\n";
    }
    /// As SIGHUP does it.
    void reload() {
        auto next = load_station(config_path_, &pipeline_->model()->bundle()).config;
        pipeline_->reload(next);
        config_.adopt_reloadable(next);
        switch_->look();
    }
    bool supervised_until(const std::function<bool()>& holds) {
        return eventually([&] {
            switch_->supervise(now_);
            return holds();
        });
    }
    SampleCounts samples() const {
        const auto source = pipeline_->sources()[0];
        if (source.channels.empty()) return {};
        EXPECT_TRUE(source.channels[0].samples.balanced());
        return source.channels[0].samples;
    }
    bool uses(const std::string& id) {
        return supervised_until([&] { return pipeline_->model()->id() == id && switch_->status().fault.empty(); });
    }
    bool refuses() {
        return supervised_until([&] { return !switch_->status().fault.empty(); });
    }

    const fs::path config_path_ = folder_ / "chorusd.toml";
    Config config_;
    RecordingSink sink_;
    Metrics metrics_{"pond"};
    std::optional<Pipeline> pipeline_;
    std::optional<ModelSwitch> switch_;
    MonotonicTime now_{};
};

TEST_F(ModelSwitchTest, TakesTheNewBundleIntoUse) {
    EXPECT_EQ(pipeline_->model()->id(), first_);
    link_atomically("second", current_);
    EXPECT_TRUE(uses(second_));
    EXPECT_EQ(switch_->status().id, second_);
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_swaps_total{station=\"pond\"} 1"));
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_load_failures_total{station=\"pond\"} 0"));
}

TEST_F(ModelSwitchTest, StaysWithTheOldOneWhereTheNewOneCannotBeLoaded) {
    std::ofstream(folder_ / "broken") << "no bundle at all";
    link_atomically("broken", current_);
    ASSERT_TRUE(refuses());
    EXPECT_THAT(switch_->status().fault, StartsWith(current_.string() + ": "));
    EXPECT_EQ(switch_->status().id, first_);
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_load_failures_total{station=\"pond\"} 1"));
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_swaps_total{station=\"pond\"} 0"));
    fs::remove(current_);
    ASSERT_TRUE(supervised_until([&] { return switch_->status().fault == current_.string() + ": is not there"; }));
    fs::create_symlink("first", current_);
    EXPECT_TRUE(uses(first_)) << "the fault is over";
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_swaps_total{station=\"pond\"} 0"));
}

TEST_F(ModelSwitchTest, RefusesWhatTheConfigurationDoesNotGoWith) {
    write_config("min_windows_by_class = { FROG = 2 }\n[detection.thresholds]\nFROG = 0.4\n");
    reload();
    write(folder_ / "toads", {"TOAD"}, 0.125);
    link_atomically("toads", current_);
    ASSERT_TRUE(refuses());
    const auto fault = switch_->status().fault;
    EXPECT_THAT(fault, StartsWith(current_.string() + ": model "));
    EXPECT_THAT(fault,
                HasSubstr(config_path_.string() + ":6: analysis.hop_seconds: 0.25 is more than the model's window"));
    EXPECT_EQ(pipeline_->model()->id(), first_);
    const auto toads = write(folder_ / "toads", {"TOAD"});
    EXPECT_TRUE(uses(toads));
}

TEST_F(ModelSwitchTest, GoesBackToAModelWithoutAClassThatTheConfigurationNames) {
    write_config("min_windows_by_class = { FROG = 2 }\n[detection.thresholds]\nFROG = 0.4\n");
    reload();
    const auto older = write(folder_ / "older", {"TOAD"});
    link_atomically("older", current_);
    EXPECT_TRUE(uses(older));
    const auto place = config_path_.string();
    const auto warned =
        ElementsAre(place + ":10: detection.thresholds.FROG: the model has no such class: it is of no effect",
                    place + ":8: detection.min_windows_by_class.FROG: the model has no such class: it is of no effect");
    EXPECT_THAT(check_model(config_, read_bundle(current_)), warned);
    EXPECT_THAT(load_station(config_path_).config.warnings, warned) << "nor is the next start refused";
    EXPECT_THAT(check_model(config_, read_bundle(folder_ / "first")), testing::IsEmpty());
}

TEST_F(ModelSwitchTest, SaysAgainWhyARefusedModelIsRefused) {
    write(folder_ / "hasty", {"TOAD"}, 0.125);
    link_atomically("hasty", current_);
    ASSERT_TRUE(refuses());
    const auto fault = switch_->status().fault;
    std::ofstream(folder_ / "broken") << "no bundle at all";
    link_atomically("broken", current_);
    ASSERT_TRUE(supervised_until([&] { return switch_->status().fault != fault; }));
    link_atomically("hasty", current_);
    EXPECT_TRUE(supervised_until([&] { return switch_->status().fault == fault; }));
}

TEST_F(ModelSwitchTest, FollowsTheConfigurationToAnotherPath) {
    write_config("", "");
    const auto text = [&] {
        std::ifstream file(config_path_);
        return std::string{std::istreambuf_iterator<char>(file), {}};
    }();
    auto changed = text;
    changed.replace(changed.find(current_.string()), current_.string().size(), (folder_ / "second").string());
    std::ofstream(config_path_) << changed;
    reload();
    EXPECT_TRUE(uses(second_));
}

TEST_F(ModelSwitchTest, PutsTheOldModelBackWhereTheNewOneFailsIfThatIsWanted) {
    write_config("", "rollback_hours = 1\n");
    reload();
    const auto worn = write(folder_ / "worn", {"WORN"});
    link_atomically("worn", current_);
    ASSERT_TRUE(refuses());
    EXPECT_EQ(switch_->status().fault, "model " + worn + " is taken back: out of order");
    EXPECT_EQ(pipeline_->model()->id(), first_);
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_rollbacks_total{station=\"pond\"} 1"));
    const auto before = samples().analysed;
    EXPECT_TRUE(supervised_until([&] { return samples().analysed > before + 5 * EndlessSource::kRate; }))
        << "it goes on";
    EXPECT_GT(samples().dropped[static_cast<std::size_t>(DropReason::kError)], 0);
    EXPECT_FALSE(pipeline_->finished());
    switch_->look();  // as SIGHUP does
    EXPECT_TRUE(supervised_until([&] {
        return metrics_.text().find("chorus_model_rollbacks_total{station=\"pond\"} 2") != std::string::npos;
    })) << "it is tried again";
    link_atomically("second", current_);
    EXPECT_TRUE(uses(second_));
}

TEST_F(ModelSwitchTest, EndsTheAnalysisWhereAModelFailsAndNoRollbackIsWanted) {
    write(folder_ / "worn", {"WORN"});
    link_atomically("worn", current_);
    EXPECT_TRUE(supervised_until([&] { return pipeline_->finished(); }));
    EXPECT_THROW(pipeline_->rethrow_failure(), std::runtime_error);
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_model_rollbacks_total{station=\"pond\"} 0"));
}

// A call each 3 s.
TEST_F(ModelSwitchTest, PutsTheOldModelBackWhereTheNewOneOpensTooManyEvents) {
    write_config("merge_gap_seconds = 0.0\n", "rollback_hours = 1\nrollback_events_an_hour = 10\n");
    reload();
    link_atomically("second", current_);
    ASSERT_TRUE(uses(second_));
    ASSERT_TRUE(refuses());
    EXPECT_THAT(switch_->status().fault, StartsWith("model " + second_ + " is taken back: it opened 1"));
    EXPECT_EQ(pipeline_->model()->id(), first_);
}

TEST_F(ModelSwitchTest, KeepsTheOldModelNoLongerThanTheTrialLasts) {
    write_config("", "rollback_hours = 1\nrollback_events_an_hour = 100000\n");
    reload();
    const std::weak_ptr<const Model> old = pipeline_->model();
    link_atomically("second", current_);
    ASSERT_TRUE(uses(second_));
    const auto before = samples().analysed;
    ASSERT_TRUE(supervised_until([&] { return samples().analysed > before + 10 * EndlessSource::kRate; }));
    EXPECT_FALSE(old.expired());
    now_ += 61min;
    EXPECT_TRUE(supervised_until([&] { return old.expired(); }));
    EXPECT_EQ(switch_->status().fault, "");
}

TEST_F(ModelSwitchTest, RunsTheCandidateThatLiesBesideTheModel) {
    const auto shadow = [&](const std::string& id) {
        return supervised_until([&] { return switch_->status().shadow == id; });
    };
    write_config("", "shadow = 'auto'\n");
    reload();
    EXPECT_TRUE(shadow(""));
    fs::create_symlink("second", folder_ / "candidate");
    EXPECT_TRUE(shadow(second_));
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_shadow_model_info{station=\"pond\",model=\"" + second_ + "\"} 1"));
    EXPECT_TRUE(supervised_until([&] { return metrics_.text().find("result=\"agreed\"} 0") == std::string::npos; }));

    write(folder_ / "other", {"FROG"}, 2.0);
    link_atomically("other", folder_ / "candidate");
    EXPECT_TRUE(shadow("")) << "another front-end";
    link_atomically("second", folder_ / "candidate");
    EXPECT_TRUE(shadow(second_));
    std::ofstream(folder_ / "broken") << "no bundle at all";
    link_atomically("broken", folder_ / "candidate");
    EXPECT_TRUE(shadow(""));
    link_atomically("second", folder_ / "candidate");
    EXPECT_TRUE(shadow(second_)) << "the same again";
    link_atomically("second", current_);
    EXPECT_TRUE(uses(second_));
    EXPECT_EQ(switch_->status().shadow, "") << "promoted";
    link_atomically("first", folder_ / "candidate");
    EXPECT_TRUE(shadow(first_));
    fs::remove(folder_ / "candidate");
    EXPECT_TRUE(shadow(""));
    EXPECT_THAT(metrics_.text(), testing::Not(HasSubstr("chorus_shadow_model_info{")));
}

}  // namespace
}  // namespace chorus
