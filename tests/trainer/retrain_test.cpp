#include "trainer/retrain.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <sstream>

#include "model/classifier.h"
#include "tests/end_to_end/small_disk.h"
#include "tests/trainer/support.h"
#include "trainer/compute_features.h"
#include "trainer/csv.h"
#include "trainer/embeddings.h"
#include "trainer/label_import.h"
#include "trainer/model_folder.h"
#include "trainer/text_file.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

/// The codes LOW, RISE and TRILL that a clip of the tones holds, as the labels of a station say them.
using Relabel = std::string (*)(bool low, bool rise, bool trill);

std::string joined(std::initializer_list<std::pair<bool, const char*>> codes) {
    std::string text;
    for (const auto& [present, code] : codes)
        if (present) text += (text.empty() ? "" : ";") + std::string(code);
    return text;
}
std::string without_trill(bool low, bool rise, bool) {
    return joined({{low, "LOW"}, {rise, "RISE"}});
}
std::string as_they_are(bool low, bool rise, bool trill) {
    return joined({{low, "LOW"}, {rise, "RISE"}, {trill, "TRILL"}});
}
std::string low_alone(bool low, bool, bool) {
    return joined({{low, "LOW"}});
}
std::string exchanged(bool low, bool rise, bool trill) {
    return joined({{low, "RISE"}, {rise, "TRILL"}, {trill, "LOW"}});
}

class Retrain : public testing::Test {
  protected:
    Retrain() {
        options_.station = folder_ / "station";
        options_.min_new_labels = 10;
        options_.metrics = folder_ / "chorus.prom";
        fitting_.training.architecture = Architecture::kMobileNetV3Small;
        fitting_.training.batch = 16;
        fitting_.training.threads = 1;
        fitting_.front_end.hop = 512;
        fitting_.front_end.mels = 64;
        fitting_.resamples = 0;
        fs::create_directories(models());
    }

    fs::path models() const { return options_.station / "models"; }

    void record(int training_clips, int test_clips) {
        write_tone_dataset(options_.station / "dataset", training_clips, test_clips);
    }

    /// labels.csv of the clips recorded; those of the test subset are always right.
    void label(Relabel relabel, Relabel relabel_tests = as_they_are) const {
        const auto dataset = options_.station / "dataset";
        const auto manifest = read_text(dataset / "metadata.csv");
        CsvReader csv(manifest);
        std::vector<std::string> row;
        std::string labels = "file,start_s,end_s,codes,subset\n";
        csv.next(row);
        while (csv.next(row)) {
            const auto& subset = row[7];
            const auto codes =
                (subset == "test" ? relabel_tests : relabel)(row[8] == "1", row[9] == "1", row[10] == "1");
            labels += "POND/" + row[0] + ".wav,,," + codes + ',' + subset + '\n';
        }
        write_text(dataset / "labels.csv", labels);
    }

    void import_a_label() const {
        const ImportFolders folders{.station = options_.station};
        write_wav(folders.clips() / "pond.wav", std::vector<float>(3 * 16000), 16000, 1);
        write_text(folders.inbox() / "1.csv", "file,start_s,end_s,codes\npond.wav,,,LOW\n");
        import_labels(folders, {.settling = std::chrono::seconds(0)});
    }

    /// A first model for LOW and RISE, as a person would lay it there.
    void begin(int epochs) {
        label(without_trill, without_trill);
        auto fitting = fitting_;
        fitting.dataset = options_.station / "dataset";
        fitting.data.layout = Layout::kCsv;
        fitting.out = models() / "first.safetensors";
        fitting.training.epochs = epochs;
        fit(fitting, progress_);
        fs::create_symlink("first.safetensors", models() / "current");
    }

    nlohmann::json run() { return retrain(options_, fitting_, progress_); }
    Bundle current() const { return read_bundle(ModelFolder(models()).current()); }

    std::vector<nlohmann::json> history() const {
        std::ifstream file(models() / "history.jsonl");
        std::vector<nlohmann::json> lines;
        for (std::string line; std::getline(file, line);) lines.push_back(nlohmann::json::parse(line));
        return lines;
    }
    static std::vector<std::string> names_in(const fs::path& folder) {
        std::vector<std::string> names;
        for (const auto& entry : fs::directory_iterator(folder)) names.push_back(entry.path().filename());
        return names;
    }

    TemporaryFolder folder_;
    std::ostringstream shown_;
    Progress progress_{shown_, Progress::Style::kPlain};
    RetrainOptions options_;
    FitOptions fitting_;
};

TEST_F(Retrain, PromotesWhatIsBetterRefusesPoisonAndGoesBack) {
    record(100, 60);
    begin(16);
    options_.gates.noise_limit = 1e6;  // in 36 s of noise any event is many an hour
    const auto first = current().id;
    label(as_they_are);
    fitting_.training.epochs = 60;
    const auto promoted = run();
    EXPECT_EQ(promoted["outcome"], "promoted") << promoted.dump(1);
    EXPECT_THAT(promoted["reasons"].dump(), HasSubstr("new classes: TRILL"));
    EXPECT_GT(promoted["macro_f1"]["candidate"].get<double>(), promoted["macro_f1"]["current"].get<double>() + 0.1);
    EXPECT_EQ(promoted["labels"]["all"], 160);
    EXPECT_GT(promoted["noise"]["hours"], 0.0) << "recordings in which nothing calls";
    EXPECT_THAT(history(), testing::ElementsAre(promoted));
    const auto second = current();
    EXPECT_EQ(second.id, promoted["candidate"]);
    EXPECT_EQ(second.parent, first);
    ASSERT_EQ(second.labels.size(), 3U);
    EXPECT_EQ(fs::read_symlink(models() / "current"), second.id + ".safetensors");
    const auto body = [](const Bundle& bundle) { return bundle.tensors.at("features.4.block.0.0.weight").bytes; };
    EXPECT_EQ(body(second), body(read_bundle(models() / "first.safetensors"))) << "the head alone learned";

    const auto page = read_text(models() / promoted["report"].get<std::string>());
    EXPECT_THAT(page, AllOf(HasSubstr("was <b>promoted</b>"), HasSubstr("F1 on held-out recordings"),
                            HasSubstr("TRILL (new)"), HasSubstr("Loss")));
    EXPECT_THAT(page, testing::Not(HasSubstr("<script")));
    EXPECT_THAT(read_text(options_.metrics), HasSubstr("outcome=\"promoted\"} 1\n"));

    EXPECT_EQ(run()["outcome"], "nothing_new");
    EXPECT_EQ(history().size(), 1U);
    EXPECT_THAT(read_text(options_.metrics), HasSubstr("outcome=\"nothing_new\"} 1\n"));

    label(exchanged);
    const auto refused = run();
    EXPECT_EQ(refused["outcome"], "refused") << refused.dump(1);
    EXPECT_THAT(refused["reasons"].dump(), AllOf(HasSubstr("macro F1 does not rise"), HasSubstr("LOW: F1")));
    EXPECT_EQ(current().id, second.id);
    EXPECT_THAT(names_in(models() / "retraining"), UnorderedElementsAre("embeddings.safetensors", "known_labels.csv"));

    label(exchanged, exchanged);
    const auto seen_through = run();
    EXPECT_EQ(seen_through["outcome"], "refused") << seen_through.dump(1);
    EXPECT_GT(seen_through["macro_f1"]["candidate"], seen_through["macro_f1"]["current"]) << "by turned labels";
    EXPECT_THAT(seen_through["reasons"],
                testing::Each(testing::ResultOf([](const nlohmann::json& reason) { return reason.get<std::string>(); },
                                                HasSubstr("by the labels of the last decision"))));
    EXPECT_EQ(current().id, second.id);

    EXPECT_EQ(roll_back(options_)["current"], first);
    EXPECT_EQ(current().id, first);
    ASSERT_EQ(history().size(), 4U);
    EXPECT_EQ(history()[3]["outcome"], "rolled_back");
    EXPECT_EQ(run()["outcome"], "nothing_new") << "the labels are not taken for new again";
}

TEST_F(Retrain, CountsFalseEventsInAFolderOfNoise) {
    record(40, 20);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 1;
    options_.noise = folder_ / "noise";
    EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<std::runtime_error>(HasSubstr("noise: is no folder of noise")));
    std::vector<float> samples(2 * 20 * 16000);
    for (std::size_t i = 0; i < samples.size(); ++i)
        samples[i] = 0.02F * std::sin(1e-3F * static_cast<float>(i * i % 7919));
    write_wav(options_.noise / "wind.wav", samples, 16000, 2);
    write_text(options_.noise / "notes.txt", "no sound");
    const auto line = run();
    EXPECT_DOUBLE_EQ(line["noise"]["hours"], 2 * 20.0 / 3600.0) << "each channel for itself";
}

TEST_F(Retrain, CountsFalseEventsInQuietFilesOfADayOnWhichSomethingCalled) {
    record(40, 20);
    begin(1);
    label(as_they_are);
    const auto labels = options_.station / "dataset/labels.csv";
    std::istringstream lines(read_text(labels));
    std::string of_a_day;
    double quiet_hours = 0.0;
    for (std::string line; std::getline(lines, line);) {
        const bool is_test = line.ends_with(",test");
        if (line.ends_with(",,,,test")) quiet_hours += 3.0 / 3600.0;
        of_a_day += line + (of_a_day.empty() ? ",recording" : is_test ? ",POND_20260101" : ",") + '\n';
    }
    write_text(labels, of_a_day);
    fitting_.training.epochs = 1;
    ASSERT_GT(quiet_hours, 0.0);
    EXPECT_DOUBLE_EQ(run()["noise"]["hours"], quiet_hours);
}

TEST_F(Retrain, NamesClassesThatNothingJudgesAndLeavesTheirHeadAlone) {
    record(40, 20);
    begin(1);
    label(low_alone, low_alone);
    fitting_.training.epochs = 2;
    const auto line = run();
    EXPECT_EQ(line["not_judged"], nlohmann::json({"RISE"}));
    EXPECT_THAT(read_text(models() / line["report"].get<std::string>()), HasSubstr("nothing judged: RISE."));
    const auto before = read_bundle(models() / "first.safetensors");
    const auto after = read_bundle(models() / (line["candidate"].get<std::string>() + ".safetensors"));
    ASSERT_EQ(before.labels[1].code, "RISE");
    for (const auto* name : {"head.weight", "head.bias"}) {
        const auto row = [&](const Bundle& bundle, std::ptrdiff_t c) {
            const auto& bytes = bundle.tensors.at(name).bytes;
            const auto size = std::ssize(bytes) / 2;
            return std::vector(bytes.begin() + c * size, bytes.begin() + (c + 1) * size);
        };
        EXPECT_EQ(row(after, 1), row(before, 1)) << name;
        EXPECT_NE(row(after, 0), row(before, 0)) << name;
    }
    EXPECT_EQ(after.thresholds[1], before.thresholds[1]);
}

TEST_F(Retrain, RefusesWhereNothingIsHeldOut) {
    record(40, 0);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 1;
    const auto line = run();
    EXPECT_EQ(line["outcome"], "refused");
    EXPECT_THAT(line["reasons"].dump(), HasSubstr("nothing to judge by"));
    EXPECT_TRUE(line["report"].is_null());
    EXPECT_EQ(history().size(), 1U);
}

TEST_F(Retrain, WantsEnoughNewLabels) {
    EXPECT_EQ(run()["outcome"], "nothing_new") << "not even a model is needed";
    record(12, 4);
    begin(1);
    options_.min_new_labels = 17;
    const auto line = run();
    EXPECT_EQ(line["outcome"], "nothing_new");
    EXPECT_EQ(line["labels"], nlohmann::json({{"all", 16}, {"new", 16}}));
    EXPECT_EQ(current().parent, "");

    // What a decision knew is not new; what was corrected since is.
    write_text(models() / "retraining/known_labels.csv", read_text(options_.station / "dataset/labels.csv"));
    label(as_they_are, without_trill);
    const auto corrected = run()["labels"]["new"].get<int>();
    EXPECT_TRUE(corrected > 0 && corrected < 12) << corrected;
}

TEST_F(Retrain, TakesWhatAKilledImportLeftBehind) {
    import_a_label();
    fs::remove(options_.station / "dataset/labels.csv");  // killed after the last file had left the inbox
    EXPECT_EQ(run()["labels"]["all"], 1);
}

TEST_F(Retrain, LetsNoImportChangeTheLabelsUnderIt) {
    import_a_label();
    const auto import = [&] { import_labels({.station = options_.station}, {}); };
    int steps = 0;
    options_.on_step = [&] {
        if (++steps < 2) return;  // the labels are not taken yet
        EXPECT_THAT(import, testing::ThrowsMessage<std::runtime_error>(HasSubstr("import.lock: held by process")));
    };
    EXPECT_EQ(run()["labels"]["all"], 1);
    EXPECT_EQ(steps, 2);
    EXPECT_NO_THROW(import());
}

TEST_F(Retrain, LeavesTheModelAloneThatSomebodyPutThereMeanwhile) {
    record(40, 8);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 1;
    auto other = current();
    other.created = "by hand";
    write_bundle(models() / "other.safetensors", other);
    int steps = 0;
    options_.on_step = [&] {
        if (++steps != 3) return;  // trained, not judged yet
        fs::remove(models() / "current");
        fs::create_symlink("other.safetensors", models() / "current");
    };
    EXPECT_THAT([&] { run(); }, testing::ThrowsMessage<std::runtime_error>(HasSubstr("current: was changed while")));
    EXPECT_EQ(current().id, other.id);
    EXPECT_TRUE(history().empty());
    EXPECT_THAT(read_text(options_.metrics), HasSubstr("outcome=\"failed\"} 1\n"));
    options_.on_step = {};
    EXPECT_EQ(run()["current"], other.id) << "the labels were not forgotten";
}

TEST_F(Retrain, LosesAndDoublesNothingWhereverItIsKilled) {
    record(40, 8);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 2;
    fitting_.training.batch = 8;
    fitting_.checkpoint_seconds = 0.0;
    const auto first = current().id;
    TemporaryFolder untouched;
    fs::copy(models(), untouched.path() / "models", fs::copy_options::recursive | fs::copy_options::copy_symlinks);

    int killed = 0;
    for (int last = 1;; ++last) {
        fs::remove_all(models());
        fs::copy(untouched.path() / "models", models(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
        const pid_t child = fork();
        if (child == 0) {
            int steps = 0;
            int asked = 0;
            const auto step = [&] {
                if (++steps == last) kill(getpid(), SIGKILL);
            };
            options_.on_step = step;
            fitting_.must_stop = [&] {
                if (++asked % 8 == 0) step();  // after one clip or step is much like after another
                return false;
            };
            try {
                run();
                _exit(0);
            } catch (...) {
                _exit(1);
            }
        }
        int status = 0;
        waitpid(child, &status, 0);
        if (WIFEXITED(status)) {
            EXPECT_EQ(WEXITSTATUS(status), 0);
            break;
        }
        ASSERT_EQ(WTERMSIG(status), SIGKILL);
        ++killed;
        const auto survivor = current();
        EXPECT_TRUE(survivor.id == first || survivor.parent == first) << "after step " << last;

        run();
        ASSERT_EQ(history().size(), 1U) << "after step " << last;
        const auto line = history().front();
        EXPECT_EQ(current().id, line["outcome"] == "promoted" ? line["candidate"] : line["current"]);
        EXPECT_TRUE(fs::exists(models() / (line["candidate"].get<std::string>() + ".safetensors")));
        EXPECT_THAT(names_in(models() / "retraining"),
                    UnorderedElementsAre("embeddings.safetensors", "known_labels.csv"));
        EXPECT_THAT(names_in(models()),
                    UnorderedElementsAre("first.safetensors", line["candidate"].get<std::string>() + ".safetensors",
                                         "current", "history.jsonl", "reports", "retraining"));
        EXPECT_EQ(run()["outcome"], "nothing_new");
    }
    EXPECT_GE(killed, 14);
}

TEST_F(Retrain, LeavesTheModelAloneOnAFullDisk) {
    const auto disk = small_disk(models());
    if (!disk) GTEST_SKIP() << "file systems can't be mounted here";
    record(40, 8);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 2;
    fitting_.training.batch = 8;
    const auto first = current().id;
    int failed = 0;
    for (const std::uintmax_t room_kib : {0U, 64U, 512U, 1024U, 2048U}) {
        disk->fill();
        const auto ballast = models() / "ballast";
        fs::resize_file(ballast, fs::file_size(ballast) - std::min(fs::file_size(ballast), room_kib * 1024));
        try {
            run();
            break;
        } catch (const std::exception&) {
            ++failed;
        }
        disk->make_room();
        EXPECT_EQ(current().id, first) << room_kib << " KiB";
        EXPECT_TRUE(history().empty()) << room_kib << " KiB";
    }
    EXPECT_GE(failed, 3);
    disk->make_room();
    if (history().empty()) run();
    ASSERT_EQ(history().size(), 1U);
    const auto line = history().front();
    EXPECT_EQ(current().id, line["outcome"] == "promoted" ? line["candidate"] : line["current"]);
}

TEST_F(Retrain, PromotesWhatWasInTheShadowForLongEnough) {
    record(40, 8);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 1;
    options_.gates = {.margin = 1.0, .noise_limit = 1e6};
    options_.shadow_hours = 24.0;
    const auto first = current().id;
    const auto shadowed = run();
    ASSERT_EQ(shadowed["outcome"], "shadowed") << shadowed["reasons"];
    EXPECT_EQ(current().id, first);
    EXPECT_EQ(fs::read_symlink(models() / "candidate"), shadowed["candidate"].get<std::string>() + ".safetensors");
    EXPECT_EQ(run()["outcome"], "nothing_new") << "its time has not come";

    const auto set_age = [&](std::time_t hours) {
        const timespec then{.tv_sec = std::time(nullptr) - hours * 3600, .tv_nsec = 0};
        const timespec times[] = {then, then};
        utimensat(AT_FDCWD, (models() / "candidate").c_str(), times, AT_SYMLINK_NOFOLLOW);
    };
    set_age(25);
    const auto promoted = run();
    EXPECT_EQ(promoted["outcome"], "promoted");
    EXPECT_EQ(promoted["reasons"].dump(), "[\"it was in the shadow for 25.0 h\"]");
    EXPECT_EQ(current().id, shadowed["candidate"]);
    EXPECT_FALSE(fs::is_symlink(models() / "candidate"));
    EXPECT_THAT(read_text(options_.metrics), HasSubstr("outcome=\"promoted\"} 1\n"));

    // One that was trained from a model that serves no more is passed over.
    fs::create_symlink(shadowed["candidate"].get<std::string>() + ".safetensors", models() / "candidate");
    set_age(25);
    EXPECT_EQ(run()["outcome"], "nothing_new");
}

TEST_F(Retrain, RunsOnceAtATime) {
    record(12, 4);
    begin(1);
    label(as_they_are);
    fitting_.training.epochs = 0;
    const auto metrics = [&] { return fs::exists(options_.metrics) ? read_text(options_.metrics) : std::string(); };
    bool tried = false;
    options_.on_step = [&] {
        if (std::exchange(tried, true)) return;
        auto second = options_;
        second.on_step = {};
        EXPECT_THAT([&] { retrain(second, fitting_, progress_); },
                    testing::ThrowsMessage<std::runtime_error>(
                        HasSubstr("retrain.lock: held by process " + std::to_string(getpid()))));
        EXPECT_EQ(metrics(), "") << "the metrics are those of the run that runs";
    };
    run();
    EXPECT_TRUE(tried);
    EXPECT_THAT(metrics(), HasSubstr("chorus_trainer_last_run_macro_f1"));
}

TEST_F(Retrain, ResumesAWholeNetworkFromItsCheckpoint) {
    record(40, 8);
    begin(1);
    label(as_they_are);
    setenv("SOURCE_DATE_EPOCH", "1700000000", 1);
    options_.scope = RetrainScope::kFull;
    fitting_.training.epochs = 2;
    fitting_.training.batch = 8;
    TemporaryFolder untouched;
    fs::copy(models(), untouched.path() / "models", fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    int asked = 0;
    int stops_at = 0;
    fitting_.must_stop = [&] { return ++asked == stops_at; };
    const auto unbroken = run()["candidate"];
    fs::remove_all(models());
    fs::copy(untouched.path() / "models", models(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    stops_at = asked - 1;  // after the last step but one
    asked = 0;
    EXPECT_THROW(run(), Interrupted);
    EXPECT_THAT(read_text(options_.metrics), HasSubstr("outcome=\"stopped\"} 1\n"));
    EXPECT_TRUE(history().empty());
    EXPECT_EQ(run()["candidate"], unbroken) << "to the same bytes";

    // A checkpoint of other labels is of no use, and no fault.
    fs::remove_all(models());
    fs::copy(untouched.path() / "models", models(), fs::copy_options::recursive | fs::copy_options::copy_symlinks);
    asked = 0;
    EXPECT_THROW(run(), Interrupted);
    label(without_trill);
    EXPECT_NE(run()["candidate"], unbroken);
    unsetenv("SOURCE_DATE_EPOCH");
}

TEST_F(Retrain, KeepsEmbeddingsOfANetwork) {
    record(40, 0);
    begin(1);
    const auto bundle = current();
    auto dataset = read_anuraset(options_.station / "dataset", bundle.front_end.window_seconds);
    const auto features = compute_features(FrontEnd(bundle.front_end), dataset, {.threads = 1});
    const auto cache = folder_ / "embeddings";
    const auto embed = [&](const Bundle& of, std::vector<std::size_t> rows) {
        shown_.str("");
        return embed_clips(of, features, rows, 2, cache, progress_);
    };
    const auto row_of = [](const Embeddings& store, std::size_t row) {
        return std::vector(store.row(row).begin(), store.row(row).end());
    };
    const auto computed = embed(bundle, {0, 1, 2});
    EXPECT_EQ(computed.size, 576U);
    EXPECT_THAT(row_of(computed, 3), testing::Each(0.0F));
    const auto kept = embed(bundle, {1, 2, 3});
    EXPECT_THAT(shown_.str(), HasSubstr("1 of them new"));
    EXPECT_EQ(row_of(kept, 2), row_of(computed, 2));
    EXPECT_NE(row_of(kept, 3), row_of(kept, 2));
    embed(bundle, {1, 2, 3});
    EXPECT_THAT(shown_.str(), HasSubstr("0 of them new"));

    const auto classifier = make_classifier(bundle, {.device = "cpu"});
    std::vector<float> window(bundle.front_end.feature_size());
    features.get(2, window);
    std::vector<float> wanted(2);
    const std::vector<std::span<const float>> windows = {window};
    classifier->score(windows, wanted);
    const auto scores = score_embeddings(bundle, computed);
    ASSERT_EQ(scores.size(), 40U * 2U);
    EXPECT_NEAR(scores[4], wanted[0], 1e-4);
    EXPECT_NEAR(scores[5], wanted[1], 1e-4);

    auto grown = bundle;
    grown.tensors.at("head.bias").bytes.front() ^= std::byte{1};
    embed(grown, {1});
    EXPECT_THAT(shown_.str(), HasSubstr("0 of them new")) << "the head doesn't matter";
    auto other = bundle;
    other.tensors.at("features.0.0.weight").bytes.front() ^= std::byte{1};
    embed(other, {1});
    EXPECT_THAT(shown_.str(), testing::Not(HasSubstr("of them new"))) << "another network's are not taken";
    write_text(cache, "no embeddings");
    EXPECT_EQ(row_of(embed(bundle, {2}), 2), row_of(computed, 2)) << "a broken file is as none";
}

}  // namespace
}  // namespace chorus
