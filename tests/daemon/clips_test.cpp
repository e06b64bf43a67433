// Clips: what is cut is what was heard, and what is kept stays within its bounds.

#include <gmock/gmock.h>
#include <sndfile.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "daemon/clip_keeper.h"
#include "daemon/clip_store.h"
#include "daemon/pipeline.h"
#include "daemon/sound_memory.h"
#include "streaming/recorder_time.h"
#include "tests/daemon/fakes.h"
#include "tests/end_to_end/small_disk.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;
namespace fs = std::filesystem;

constexpr int kRate = 16'000;

/// A ramp whose samples tell their index.
std::vector<float> ramp(std::int64_t first, std::size_t count) {
    std::vector<float> samples;
    for (std::size_t i = 0; i < count; ++i)
        samples.push_back(static_cast<float>((first + static_cast<std::int64_t>(i)) % 32'000) / 32'768.0F);
    return samples;
}

void expect_ramp(const Sound& sound, std::int64_t first, std::int64_t end) {
    EXPECT_EQ(sound.first_sample, first);
    EXPECT_EQ(sound.end_sample(), end);
    for (std::size_t i = 0; i < sound.samples.size(); ++i)
        ASSERT_EQ(sound.samples[i], (first + static_cast<std::int64_t>(i)) % 32'000);
}

TEST(SoundMemory, GivesWhatIsAskedForAndThereWhateverTheBlocks) {
    std::mt19937 random(1);
    SoundMemory memory(10s);
    std::int64_t at = 0;
    while (at < 30 * kRate) {
        const std::size_t count = 1 + random() % 9'000;
        memory.push(0, at, kRate, ramp(at, count));
        memory.push(1, at, kRate, std::vector<float>(count));
        at += static_cast<std::int64_t>(count);
    }
    expect_ramp(memory.cut(0, at - 5 * kRate, at - 4 * kRate, at - 3 * kRate), at - 5 * kRate, at - 3 * kRate);
    expect_ramp(memory.cut(0, at - kRate, at - 1, at + kRate), at - kRate, at);
    EXPECT_THAT(memory.cut(0, 0, kRate, 2 * kRate).samples, IsEmpty()) << "forgotten";
    EXPECT_THAT(memory.cut(2, 0, 0, at).samples, IsEmpty()) << "no such channel";
    const auto all = memory.cut(0, 0, at - 1, at);
    EXPECT_GE(all.samples.size(), 10U * kRate);
    EXPECT_LE(all.samples.size(), 13U * kRate);
}

TEST(SoundMemory, CutsNothingAcrossAHole) {
    SoundMemory memory(60s);
    memory.push(0, 0, kRate, ramp(0, kRate));
    memory.push(0, 2 * kRate, kRate, ramp(2 * kRate, kRate));
    memory.push(0, 3 * kRate, 48'000, ramp(3 * kRate, kRate));
    expect_ramp(memory.cut(0, 0, kRate / 2, 5 * kRate), 0, kRate);
    expect_ramp(memory.cut(0, 0, 5 * kRate / 2, 5 * kRate), 2 * kRate, 3 * kRate);
    EXPECT_THAT(memory.cut(0, 0, 3 * kRate / 2, 5 * kRate).samples, IsEmpty());
    EXPECT_EQ(memory.cut(0, 0, 3 * kRate, 5 * kRate).sample_rate_hz, 48'000);
}

TEST(SoundMemory, ClipsWhatIsBeyondFullScale) {
    SoundMemory memory(1s);
    memory.push(0, 0, kRate, std::vector<float>{-2.0F, -1.0F, 0.0F, 1.0F, 2.0F});
    EXPECT_THAT(memory.cut(0, 0, 0, 5).samples, ElementsAre(-32'768, -32'768, 0, 32'767, 32'767));
}

/// Noise, which FLAC can't pack: 2 bytes a sample.
Sound noise(std::size_t samples) {
    std::mt19937 random(1);
    Sound sound{.first_sample = 7, .sample_rate_hz = kRate, .samples = {}};
    while (sound.samples.size() < samples) sound.samples.push_back(static_cast<std::int16_t>(random()));
    return sound;
}

std::vector<std::string> files_in(const fs::path& folder) {
    std::vector<std::string> names;
    for (const auto& entry : fs::recursive_directory_iterator(folder)) {
        if (entry.is_regular_file()) names.push_back(entry.path().lexically_relative(folder).string());
    }
    std::sort(names.begin(), names.end());
    return names;
}

struct ReadBack {
    SF_INFO info{};
    std::vector<std::int16_t> samples;
    std::string comment;
    std::string date;
};

ReadBack read_back(const fs::path& path) {
    ReadBack read;
    SNDFILE* const file = sf_open(path.c_str(), SFM_READ, &read.info);
    EXPECT_NE(file, nullptr) << path;
    if (file == nullptr) return read;
    read.samples.resize(static_cast<std::size_t>(read.info.frames));
    EXPECT_EQ(sf_readf_short(file, read.samples.data(), read.info.frames), read.info.frames);
    if (const char* text = sf_get_string(file, SF_STR_COMMENT)) read.comment = text;
    if (const char* text = sf_get_string(file, SF_STR_DATE)) read.date = text;
    sf_close(file);
    return read;
}

TEST(ClipStore, WritesFlacThatTellsWhatItIs) {
    const TemporaryFolder folder;
    ClipStore store(folder / "clips", {.max_bytes = 1 << 30, .min_free_bytes = 0});
    const auto sound = noise(kRate);
    store.write("event/OWL/a", sound, {.title = "OWL", .artist = "pond", .date = "2026-11-23", .comment = "{}"});
    const auto read = read_back(folder / "clips/event/OWL/a.flac");
    EXPECT_EQ(read.samples, sound.samples);
    EXPECT_EQ(read.info.samplerate, kRate);
    EXPECT_EQ(read.info.channels, 1);
    EXPECT_EQ(read.comment, "{}");
    EXPECT_EQ(read.date, "2026-11-23");
    EXPECT_THAT(files_in(folder / "clips"), ElementsAre("event/OWL/a.flac"));
    EXPECT_EQ(store.bytes(), static_cast<std::int64_t>(fs::file_size(folder / "clips/event/OWL/a.flac")));
}

TEST(ClipStore, LetsTheOldestOfTheLargestClassGoFirstAndNoLockedOne) {
    const TemporaryFolder folder;
    const std::int64_t clip = 2 * kRate + 5'000;
    ClipStore store(folder.path(), {.max_bytes = 6 * clip, .min_free_bytes = 0});
    const auto write = [&](const std::string& path) {
        store.write(path, noise(kRate), {});
        std::this_thread::sleep_for(5ms);  // in the order of their times
    };
    write("event/RARE/0");
    for (int i = 0; i < 3; ++i) write("event/COMMON/" + std::to_string(i));
    std::ofstream(folder / "event/COMMON/0.flac.lock");
    for (int i = 3; i < 9; ++i) write("event/COMMON/" + std::to_string(i));
    auto left = files_in(folder.path());
    EXPECT_THAT(left, testing::Contains("event/RARE/0.flac"));
    EXPECT_THAT(left, testing::Contains("event/COMMON/0.flac")) << "locked";
    EXPECT_THAT(left, testing::Contains("event/COMMON/8.flac"));
    EXPECT_THAT(left, testing::Not(testing::Contains("event/COMMON/1.flac")));
    EXPECT_LE(store.bytes(), 6 * clip);

    // Another process goes on with what is there.
    ClipStore again(folder.path(), {.max_bytes = 3 * clip, .min_free_bytes = 0});
    again.write("event/NEW/0", noise(kRate), {});
    left = files_in(folder.path());
    EXPECT_THAT(left, testing::IsSupersetOf({"event/RARE/0.flac", "event/COMMON/0.flac", "event/NEW/0.flac"}));
    EXPECT_LE(again.bytes(), 3 * clip);
}

TEST(ClipStore, SaysWhenAllIsLockedOrTheDiskTooFull) {
    const TemporaryFolder folder;
    ClipStore store(folder.path(), {.max_bytes = 40'000, .min_free_bytes = 0});
    store.write("event/A/0", noise(kRate), {});
    std::ofstream(folder / "event/A/0.flac.lock");
    EXPECT_THROW(store.write("event/A/1", noise(kRate), {}), std::runtime_error);
    ClipStore greedy(folder.path(), {.max_bytes = 1 << 30, .min_free_bytes = std::int64_t{1} << 60});
    EXPECT_THROW(greedy.write("event/A/1", noise(kRate), {}), std::runtime_error);
    EXPECT_THAT(files_in(folder.path()), ElementsAre("event/A/0.flac", "event/A/0.flac.lock"));
}

TEST(ClipStore, RemovesNothingWhereThatWouldNotDo) {
    const TemporaryFolder folder;
    ClipStore store(folder.path(), {.max_bytes = 1 << 30, .min_free_bytes = 0});
    for (const auto* path : {"event/A/0", "event/A/1", "event/B/0"}) store.write(path, noise(kRate), {});
    ClipStore greedy(folder.path(), {.max_bytes = 1 << 30, .min_free_bytes = std::int64_t{1} << 60});
    EXPECT_THROW(greedy.write("event/A/2", noise(kRate), {}), std::runtime_error);
    EXPECT_THAT(files_in(folder.path()), ElementsAre("event/A/0.flac", "event/A/1.flac", "event/B/0.flac"));
}

TEST(ClipStore, LeavesClipsThatADataSetHoldsWhereTheDiskIsShort) {
    const TemporaryFolder folder;
    const auto disk = small_disk(folder / "disk");
    if (!disk) GTEST_SKIP() << "no file system can be mounted here";
    const auto free = [&] { return static_cast<std::int64_t>(fs::space(disk->folder()).available); };
    const auto clips = disk->folder() / "clips";
    ClipStore store(clips, {.max_bytes = 1 << 30, .min_free_bytes = 0});
    for (const auto* path : {"event/A/0", "event/A/1", "event/A/2", "event/B/0"}) {
        store.write(path, noise(kRate), {});
        std::this_thread::sleep_for(5ms);  // in the order of their times
    }
    fs::create_hard_link(clips / "event/A/0.flac", disk->folder() / "labelled.flac");
    fs::create_hard_link(clips / "event/A/2.flac", disk->folder() / "too.flac");
    ClipStore tight(clips, {.max_bytes = 1 << 30, .min_free_bytes = free()});
    tight.write("event/C/0", noise(kRate), {});
    EXPECT_THAT(files_in(clips), ElementsAre("event/A/0.flac", "event/A/2.flac", "event/B/0.flac", "event/C/0.flac"));
    fs::create_hard_link(clips / "event/B/0.flac", disk->folder() / "rare.flac");
    fs::create_hard_link(clips / "event/C/0.flac", disk->folder() / "new.flac");
    EXPECT_THROW(tight.write("event/C/1", noise(kRate), {}), std::runtime_error);
    EXPECT_THAT(files_in(clips), SizeIs(4)) << "none of them would help";
}

TEST(ClipStore, NumbersAClipWhoseNameIsTaken) {
    const TemporaryFolder folder;
    ClipStore store(folder.path(), {.max_bytes = 1 << 30, .min_free_bytes = 0});
    store.write("event/A/0", noise(100), {});
    std::ofstream(folder / "event/A/0.flac.lock");
    store.write("event/A/0", noise(200), {});
    store.write("event/A/0", noise(300), {});
    EXPECT_THAT(files_in(folder.path()),
                ElementsAre("event/A/0.flac", "event/A/0.flac.lock", "event/A/0_2.flac", "event/A/0_3.flac"));
    EXPECT_THAT(read_back(folder / "event/A/0.flac").samples, SizeIs(100));
    EXPECT_THAT(read_back(folder / "event/A/0_3.flac").samples, SizeIs(300));
}

TEST(ClipStore, RemovesWhatACrashLeftUnfinished) {
    const TemporaryFolder folder;
    fs::create_directories(folder / "event/A");
    std::ofstream(folder / "event/A/0.flac.part") << "half";
    ClipStore store(folder.path(), {.max_bytes = 1 << 30, .min_free_bytes = 0});
    store.write("event/A/1", noise(100), {});
    EXPECT_THAT(files_in(folder.path()), ElementsAre("event/A/1.flac"));
}

class ClipKeeperTest : public testing::Test {
  protected:
    /// A recording of one channel through the pipeline, as a file whose first sample was at `start`.
    std::vector<Event> run(ClipsConfig clips, const std::vector<float>& sound, std::optional<UtcTime> start) {
        clips.folder = folder_ / "clips";
        const Bundle bundle = tone_bundle();
        Config config;
        config.station = "pond-7";
        config.hop_seconds = 0.25;
        config.detection.merge_gap_seconds = 0.0;
        config.detection.update_seconds = 1.0;
        SourceConfig source;
        source.name = "mic_1";
        source.is_file = true;
        source.start = start;
        config.sources = {source};
        const auto items = cut_into_blocks({std::vector<float>(sound.size()), sound}, kRate, [] { return 4'000U; });
        ToneClassifier classifier;
        RecordingSink sink;
        {
            ClipKeeper keeper(clips, config.station, bundle, sink, metrics_);
            Pipeline pipeline(config, model_of(bundle, classifier), keeper, metrics_,
                              [&](const SourceConfig&) { return std::make_unique<ScriptedSource>(items, false); });
            pipeline.start();
            EXPECT_TRUE(pipeline.wait_finished(60s));
            pipeline.rethrow_failure();
        }
        return sink.events();
    }
    const TemporaryFolder folder_;
    Metrics metrics_{"pond-7"};
    const UtcTime start_ = std::chrono::sys_days(std::chrono::year(2026) / 11 / 23) + 2h + 14min + 7s;
};

const ClipsConfig kEventsAlone{.folder = {},
                               .before_seconds = 0.5,
                               .after_seconds = 0.25,
                               .max_seconds = 5.0,
                               .uncertain_per_day = 0,
                               .random_per_day = 0};

TEST_F(ClipKeeperTest, KeepsTheSoundOfEachEventSampleForSample) {
    const auto sound = noise_with_tones(kRate, 12.0, {{3.0, 4.0}, {8.0, 9.0}});
    std::vector<Event> closed;
    for (const auto& event : run(kEventsAlone, sound, start_)) {
        if (event.phase == EventPhase::kClose) {
            closed.push_back(event);
        } else {
            EXPECT_EQ(event.clip, "");
        }
    }
    ASSERT_THAT(closed, SizeIs(2));
    for (const auto& event : closed) {
        const auto read = read_back(folder_ / "clips" / event.clip);
        const auto first = event.start_sample - kRate / 2;
        ASSERT_EQ(static_cast<std::int64_t>(read.samples.size()), event.end_sample + kRate / 4 - first);
        for (std::size_t i = 0; i < read.samples.size(); ++i)
            ASSERT_NEAR(static_cast<float>(read.samples[i]) / 32'768.0F, sound[static_cast<std::size_t>(first) + i],
                        1.0F / 32'768.0F);
        const auto told = nlohmann::json::parse(read.comment);
        EXPECT_EQ(told["schema"], "chorus.clip/1");
        EXPECT_EQ(told["code"], "TONE");
        EXPECT_EQ(told["channel"], 1);
        EXPECT_EQ(told["start_sample"], first);
        EXPECT_EQ(told["event"], event_id(event));
        EXPECT_EQ(read.date, told["start"]);
        // The name tells the date to whatever reads recorders' names.
        const auto named = time_in_name(fs::path(event.clip).stem().string());
        ASSERT_TRUE(named) << event.clip;
        EXPECT_EQ(named->utc(), std::chrono::floor<std::chrono::seconds>(*event.start - 500ms));
    }
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_clips_total{station=\"pond-7\",kind=\"event\"} 2"));
}

TEST_F(ClipKeeperTest, CutsALongEventOnceItIsLongEnough) {
    const auto sound = noise_with_tones(kRate, 60.0, {{2.0, 50.0}});
    std::vector<std::string> clips;
    for (const auto& event : run(kEventsAlone, sound, std::nullopt)) {
        if (event.phase == EventPhase::kClose) clips.push_back(event.clip);
    }
    ASSERT_THAT(clips, SizeIs(1));
    EXPECT_THAT(clips[0], testing::MatchesRegex("event/TONE/pond-7_undated-[0-9a-f]+_mic-1_1_[0-9]+.flac"));
    EXPECT_EQ(read_back(folder_ / "clips" / clips[0]).info.frames, 11 * kRate / 2);
}

TEST_F(ClipKeeperTest, KeepsTheUndatedClipsOfAnEarlierRun) {
    const auto sound = noise_with_tones(kRate, 6.0, {{2.0, 3.0}});
    std::set<std::string> clips;
    for (int i = 0; i < 2; ++i) {
        for (const auto& event : run(kEventsAlone, sound, std::nullopt)) {
            if (event.phase == EventPhase::kClose) clips.insert(event.clip);
        }
    }
    EXPECT_THAT(clips, SizeIs(2));
    EXPECT_THAT(files_in(folder_ / "clips"), testing::ElementsAreArray(clips));
}

TEST_F(ClipKeeperTest, KeepsASampleOfWhatIsUncertainAndOfAnything) {
    ClipsConfig clips = kEventsAlone;
    clips.uncertain_per_day = 1440;
    clips.random_per_day = 1440;
    // Noise scores 0.23, within 1 in log-odds of the threshold of 0.35.
    EXPECT_THAT(run(clips, noise_with_tones(kRate, 5.0, {}), start_), IsEmpty());
    const auto files = files_in(folder_ / "clips");
    ASSERT_THAT(files, SizeIs(1)) << "a random one comes only after a minute or so";
    EXPECT_THAT(files[0], HasSubstr("uncertain/TONE/pond-7_20261123_0214"));
    EXPECT_EQ(read_back(folder_ / "clips" / files[0]).info.frames, kRate) << "the window";
}

TEST_F(ClipKeeperTest, GoesOnWhenTheDiskIsFull) {
    ClipsConfig clips = kEventsAlone;
    clips.min_free_mib = 2'000'000'000;
    const auto events = run(clips, noise_with_tones(kRate, 12.0, {{3.0, 4.0}}), start_);
    EXPECT_FALSE(events.empty());
    EXPECT_THAT(metrics_.text(), HasSubstr("chorus_clips_missed_total{station=\"pond-7\",reason=\"disk\"} 1"));
}

}  // namespace
}  // namespace chorus
