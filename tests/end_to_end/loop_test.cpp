// The learning loop with the real programs: a station streams while people label, and its model learns a sound it
// didn't know, live.

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <numbers>
#include <random>
#include <sndfile.hh>

#include "model/bundle.h"
#include "tests/end_to_end/heard_windows.h"
#include "tests/end_to_end/station.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::ElementsAre;
using testing::Pair;
namespace fs = std::filesystem;

constexpr int kRate = 16'000;
constexpr std::int64_t kHop = 4'000;
constexpr int kClips = 12;  // with the whistle, and as many without, of which every third is held out
const std::string kWhistle =
    "[[source]]\nname = 'whistle'\n"
    "launch = 'audiotestsrc is-live=true wave=sine freq=2500 volume=0.3 ! audio/x-raw,rate=16000,channels=1'\n";

std::string text_of(const fs::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

class Loop : public testing::Test {
  protected:
    Loop() : station_(kSteady + kWhistle) {
        for (const auto* folder : {"models", "labels/inbox", "dataset"}) fs::create_directories(root() / folder);
        fs::rename(station_.bundle(), root() / "models/first.safetensors");
        fs::create_symlink("first.safetensors", root() / "models/current");
        fs::create_symlink(root() / "models/current", station_.bundle());
        first_ = read_bundle(station_.bundle()).id;
        station_.write_config(kSteady + kWhistle, clips());
        std::ofstream(trainer()) << fmt::format(
            "[data]\ntest_share = 0.0\n[training]\nepochs = 40\nbatch = 8\n[thresholds]\nprior_positives = 0.0\n"
            "[retrain]\nstation = '{}'\nmin_new_labels = 5\nmin_positives = 3\n",
            root().string());
    }

    std::string clips() const {
        return fmt::format("\n[clips]\nfolder = '{}'\nmin_free_mib = 1\n", (root() / "clips").string());
    }

    /// Names of the clips of a source that chorusd has kept so far.
    std::vector<std::string> clips_of(const std::string& source) const {
        std::vector<std::string> names;
        if (!fs::exists(root() / "clips")) return names;
        for (const auto& entry : fs::recursive_directory_iterator(root() / "clips")) {
            const auto name = entry.path().filename().string();
            if (name.ends_with(".flac") && name.find("_" + source + "_") != name.npos) names.push_back(name);
        }
        return names;
    }

    fs::path root() const { return station_.folder() / "root"; }
    fs::path trainer() const { return station_.folder() / "trainer.toml"; }

    static bool is_held_out(int clip) { return clip % 3 == 2; }
    static std::string name_of(int clip, bool whistles) {
        return fmt::format("{}{}_202601{:02}_050000", whistles ? "WHISTLE" : "HISS", clip, clip + 1);
    }

    void drop(const std::string& name, const std::string& text) {
        const auto path = root() / "labels/inbox" / name;
        std::ofstream(path) << text;
        settle(path);
    }
    /// As if it had been dropped a minute ago.
    static void settle(const fs::path& path) { fs::last_write_time(path, fs::file_time_type::clock::now() - 60s); }

    /// Sound for people to label: 4 s, as the station hears it.
    void drop_sound() {
        std::mt19937 random(1);
        for (int clip = 0; clip < kClips; ++clip) {
            for (const bool whistles : {true, false}) {
                std::normal_distribution<float> hiss(0.0F, 0.02F + 0.005F * static_cast<float>(clip));
                std::vector<float> samples(4 * kRate);
                for (std::size_t i = 0; i < samples.size(); ++i) {
                    const double phase = 2.0 * std::numbers::pi * 2500.0 * static_cast<double>(i) / kRate;
                    samples[i] = hiss(random) + (whistles ? 0.3F * static_cast<float>(std::sin(phase)) : 0.0F);
                }
                const auto path = root() / "labels/inbox" / (name_of(clip, whistles) + ".wav");
                {
                    SndfileHandle file(path.string(), SFM_WRITE, SF_FORMAT_WAV | SF_FORMAT_PCM_16, 1, kRate);
                    file.writef(samples.data(), static_cast<sf_count_t>(samples.size()));
                }
                settle(path);
            }
        }
    }

    json retrain() {
        const auto done =
            run_program({CHORUS_TRAIN, "retrain", "--config", trainer(), "--threads", "1"}, station_.folder());
        EXPECT_EQ(done.status, 0) << done.err;
        return done.status == 0 ? json::parse(done.out) : json();
    }

    /// Sounds and this of [detection.thresholds], from now on.
    bool listen_for(const std::string& thresholds) {
        const auto before = station_.last_scrape().sum("chorus_config_reloads_total", {{"result", "applied"}});
        station_.write_config(kSteady + kWhistle, thresholds + clips());
        station_.daemon().signal(SIGHUP);
        return station_.until("it is taken over", [&](const Scrape& scrape) {
            return scrape.sum("chorus_config_reloads_total", {{"result", "applied"}}) > before;
        });
    }

    bool hears_whistle(const std::string& model) {
        return station_.until("the whistle is told of", [&](const Scrape&) {
            for (const auto& [seq, event] : station_.seen())
                if (event["code"] == "WHISTLE" && event["source"] == "whistle" && event["model"] == model) return true;
            return false;
        });
    }

    Station station_;
    std::string first_;
};

TEST_F(Loop, LearnsWhatPeopleLabelWhileItStreamsAndNothingWorse) {
    station_.start();
    ASSERT_TRUE(station_.until_events("whistle", 4));

    // New rules of detection close events, and chorusd keeps their sound.
    ASSERT_TRUE(listen_for("CROW = 0.9"));
    ASSERT_TRUE(station_.until("there are clips to label", [&](const Scrape&) {
        return !clips_of("whistle").empty() && !clips_of("steady").empty();
    }));

    // Of what people have of their own, training clips with the whistle come as Raven tables, the others and the
    // held-out ones with the station's clips as a CSV.
    drop_sound();
    const auto whistles = clips_of("whistle");  // chorusd keeps on adding
    std::string rest = "file,start_s,end_s,codes,subset\n";
    for (const auto& clip : whistles) rest += fmt::format("{},,,WHISTLE,train\n", clip);
    for (const auto& clip : clips_of("steady")) rest += fmt::format("{},,,,train\n", clip);
    for (int clip = 0; clip < kClips; ++clip) {
        const auto* const subset = is_held_out(clip) ? "test" : "train";
        rest += fmt::format("{}.wav,0,4,,{}\n", name_of(clip, false), subset);
        if (is_held_out(clip)) {
            rest += fmt::format("{}.wav,0,4,WHISTLE,{}\n", name_of(clip, true), subset);
        } else {
            drop(name_of(clip, true) + ".Table.1.selections.txt",
                 "Selection\tBegin Time (s)\tEnd Time (s)\tSpecies\n1\t0.0\t4.0\tWHISTLE\n");
        }
    }
    drop("rest.csv", rest);
    const auto learned = retrain();
    ASSERT_EQ(learned["outcome"], "promoted") << learned.dump(1);
    const auto second = learned["candidate"].get<std::string>();
    ASSERT_TRUE(station_.until("the new model serves", [&](const Scrape& scrape) {
        return scrape.sum("chorus_model_info", {{"model", second}}) == 1;
    }));
    ASSERT_TRUE(listen_for("WHISTLE = 0.5"));
    EXPECT_TRUE(hears_whistle(second));
    ASSERT_TRUE(listen_for(""));
    EXPECT_TRUE(fs::is_empty(root() / "labels/inbox"));
    EXPECT_THAT(text_of(root() / "dataset/labels.csv"), testing::HasSubstr(whistles.front()));

    // Who labels the training clips the wrong way round gets nothing promoted.
    std::string poison = "file,start_s,end_s,codes\n";
    for (int clip = 0; clip < kClips; ++clip) {
        if (is_held_out(clip)) continue;
        poison += fmt::format("{}.wav,0,4,WHISTLE\n{}.wav,0,4,\n", name_of(clip, false), name_of(clip, true));
    }
    drop("poison.csv", poison);
    const auto refused = retrain();
    EXPECT_EQ(refused["outcome"], "refused") << refused.dump(1);
    EXPECT_EQ(read_bundle(root() / "models/current").id, second);

    const auto back = run_program({CHORUS_TRAIN, "rollback", "--config", trainer()}, station_.folder());
    EXPECT_EQ(back.status, 0) << back.err;
    ASSERT_TRUE(station_.until("the first model serves again", [&](const Scrape& scrape) {
        return scrape.sum("chorus_model_info", {{"model", first_}}) == 1;
    }));
    ASSERT_TRUE(station_.until_events("whistle", 6));
    ASSERT_TRUE(station_.until_events("steady", 6));
    for (const std::string reason : {"overload", "short", "error"})
        EXPECT_EQ(station_.last_scrape().sum("chorus_samples_dropped_total", {{"reason", reason}}), 0) << reason;
    station_.stop();
    expect_whole_journal(station_);
    auto heard = models_of_every_window(station_, kHop);
    // New rules of detection begin events anew, too, if there was a window between them.
    for (auto& [channel, models] : heard) models.erase(std::unique(models.begin(), models.end()), models.end());
    const auto models = ElementsAre(first_, second, first_);
    EXPECT_THAT(heard, ElementsAre(Pair("steady0", models), Pair("whistle0", models)));
}

}  // namespace
}  // namespace chorus
