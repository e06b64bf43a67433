#include "trainer/feature_cache.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <thread>

#include "tests/trainer/support.h"
#include "trainer/compute_features.h"

namespace chorus {
namespace {

using testing::HasSubstr;

constexpr int kRate = 16000;

FrontEndParameters coarse() {
    FrontEndParameters parameters;
    parameters.hop = 512;
    parameters.mels = 16;
    return parameters;
}

std::vector<float> chirps(double pace) {
    std::vector<float> samples(static_cast<std::size_t>(6 * kRate));
    for (std::size_t i = 0; i < samples.size(); ++i) {
        const auto t = static_cast<double>(i % 20000);
        samples[i] = static_cast<float>(0.3 * std::sin(pace * t * t));
    }
    return samples;
}

/// A recording of 6 s with windows, the one at 1 s silent, and a clip of its own.
class CachedFeatures : public testing::Test {
  protected:
    CachedFeatures() {
        auto samples = chirps(1e-5);
        std::fill(samples.begin() + kRate, samples.begin() + 4 * kRate, 0.0F);
        write_wav(folder_ / "long.wav", samples, kRate);
        write_wav(folder_ / "clip.wav", std::span(samples).last(3 * kRate), kRate);
    }

    Dataset dataset() {
        Dataset dataset;
        for (const double offset : {0.0, 1.0, 2.0, 3.0})
            dataset.clips.push_back(
                {.audio = folder_ / "long.wav", .offset_seconds = offset, .recording = "r", .targets = {1}});
        dataset.clips.push_back({.audio = folder_ / "clip.wav", .recording = "c", .targets = {1}});
        return dataset;
    }

    struct Made {
        std::vector<std::vector<float>> rows;
        std::vector<WindowScale> scales;
        std::vector<std::string> left_out;
        bool operator==(const Made&) const = default;
    };

    Made make(const std::filesystem::path& cache, const FrontEndParameters& parameters = coarse()) {
        auto clips = dataset();
        const auto store = compute_features(FrontEnd(parameters), clips, {.threads = 2, .cache = cache});
        Made made;
        for (std::size_t row = 0; row < store.size(); ++row) {
            store.get(row, made.rows.emplace_back(parameters.feature_size()));
            made.scales.push_back(store.scale(row));
        }
        for (const auto& [item, reason] : clips.left_out) made.left_out.push_back(reason);
        return made;
    }

    std::vector<std::filesystem::path> segments() {
        std::vector<std::filesystem::path> files;
        for (const auto& entry : std::filesystem::directory_iterator(cache_)) files.push_back(entry.path());
        std::sort(files.begin(), files.end());
        return files;
    }

    TemporaryFolder folder_;
    std::filesystem::path cache_ = folder_ / "cache/features";
};

TEST_F(CachedFeatures, AreTheSameBitsAndReasonsAsWithoutACache) {
    const auto plain = make({});
    ASSERT_EQ(plain.rows.size(), 4U);
    EXPECT_EQ(plain.left_out, std::vector<std::string>{"is silent"});
    EXPECT_EQ(make(cache_), plain);
    const auto first = segments();
    ASSERT_EQ(first.size(), 1U);
    EXPECT_EQ(make(cache_), plain);
    EXPECT_EQ(segments(), first) << "nothing was computed again";
}

TEST_F(CachedFeatures, AreFoundByContentWhateverTheFilesAreCalled) {
    make(cache_);
    const auto first = segments();
    const auto changed = std::filesystem::last_write_time(folder_ / "clip.wav");
    write_wav(folder_ / "clip.wav", std::span<const float>(chirps(2e-5)).first(3 * kRate), kRate);
    std::filesystem::last_write_time(folder_ / "clip.wav", changed);
    EXPECT_EQ(make(cache_), make({})) << "of the same size and time, with other sound";
    EXPECT_EQ(segments().size(), first.size() + 1);

    std::filesystem::rename(folder_ / "long.wav", folder_ / "moved.wav");
    std::filesystem::copy_file(folder_ / "moved.wav", folder_ / "long.wav");
    make(cache_);
    EXPECT_EQ(segments().size(), first.size() + 1);
}

TEST_F(CachedFeatures, AreKeptApartByFrontEnd) {
    make(cache_);
    auto finer = coarse();
    finer.hop = 500;
    EXPECT_EQ(make(cache_, finer), make({}, finer));
    EXPECT_EQ(segments().size(), 2U);
}

TEST_F(CachedFeatures, AreMadeAnewWhereASegmentIsTornOrNone) {
    const auto plain = make({});
    make(cache_);
    const auto segment = segments().front();
    const auto whole = std::filesystem::file_size(segment);
    for (const auto size : {std::uintmax_t{0}, std::uintmax_t{1}, whole / 2, whole - 1}) {
        std::filesystem::resize_file(segment, size);
        EXPECT_EQ(make(cache_), plain) << size;
        EXPECT_EQ(std::filesystem::file_size(segment), whole) << "the new one has its name";
    }
    std::ofstream(segment, std::ios::app) << "more";
    EXPECT_EQ(make(cache_), plain);
    std::fstream(segment, std::ios::in | std::ios::out).write("rows", 4);
    EXPECT_EQ(make(cache_), plain) << "rows that aren't those that the index is about";
    EXPECT_EQ(make(cache_), plain) << "whatever else was in that segment";
    const auto mended = segments();
    EXPECT_EQ(make(cache_), plain);
    EXPECT_EQ(segments(), mended);
}

TEST_F(CachedFeatures, AreTheSameForSeveralAtOnce) {
    const auto plain = make({});
    std::vector<Made> made(4);
    {
        std::vector<std::jthread> runs;
        for (auto& one : made) runs.emplace_back([&] { one = make(cache_); });
    }
    EXPECT_THAT(made, testing::Each(plain));
    EXPECT_EQ(make(cache_), plain);
}

TEST_F(CachedFeatures, OutliveTheCacheTheyCameFrom) {
    auto clips = dataset();
    const auto expected = make(cache_).rows.front();
    const auto store = compute_features(FrontEnd(coarse()), clips, {.cache = cache_});
    std::filesystem::remove_all(cache_);
    std::vector<float> got(expected.size());
    store.get(0, got);
    EXPECT_EQ(got, expected);
}

TEST_F(CachedFeatures, ClearAwayWhatACrashLeft) {
    make(cache_);
    const auto prefix = segments().front().filename().string().substr(0, 16);
    const auto old = cache_ / (prefix + "-0.features-new");
    const auto young = cache_ / (prefix + "-1.features-new");
    write_text(old, "half a segment");
    write_text(young, "of another process");
    std::filesystem::last_write_time(old, std::filesystem::file_time_type::clock::now() - std::chrono::hours(25));
    make(cache_);
    EXPECT_FALSE(std::filesystem::exists(old));
    EXPECT_TRUE(std::filesystem::exists(young));
}

TEST_F(CachedFeatures, SayInOneLineThatTheFolderIsNone) {
    write_text(folder_ / "file", "");
    EXPECT_THAT([&] { make(folder_ / "file"); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr((folder_ / "file").string() + ": ")));
    EXPECT_THAT([&] { make(folder_ / "file/below"); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr((folder_ / "file/below").string() + ": ")));
}

TEST_F(CachedFeatures, DoNotKeepWhatMayBeReadableLater) {
    std::filesystem::rename(folder_ / "clip.wav", folder_ / "kept.wav");
    write_text(folder_ / "clip.wav", "no sound");
    const auto without = make(cache_);
    ASSERT_EQ(without.rows.size(), 3U);
    EXPECT_THAT(without.left_out.back(), HasSubstr("cannot be read as sound"));
    std::filesystem::rename(folder_ / "kept.wav", folder_ / "clip.wav");
    EXPECT_EQ(make(cache_), make({}));
}

}  // namespace
}  // namespace chorus
