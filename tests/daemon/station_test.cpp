// A configuration held against the model it names: a real bundle, real recordings.

#include <gmock/gmock.h>

#include <fstream>

#include "config/config_reader.h"
#include "daemon/config.h"
#include "tests/streaming/wav.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class StationFile : public testing::Test {
  protected:
    StationFile() {
        Bundle bundle;
        for (const char* code : {"FROG", "TOAD"}) bundle.labels.push_back({.code = code, .name = "", .group = ""});
        bundle.thresholds = {0.5F, 0.5F};
        const std::vector<float> zeros(8);
        bundle.tensors["head.weight"] = to_stored(zeros, {2, 4}, TensorType::kFloat32);
        bundle.tensors["head.bias"] = to_stored(std::span(zeros).first(2), {2}, TensorType::kFloat32);
        write_bundle(folder_ / "model", bundle);
        bundle.activity = ActivityTable{.solar = true, .shifts = std::vector<float>(2 * ActivityTable::kCells)};
        write_bundle(folder_ / "dated", bundle);
        for (const int seconds : {4, 8}) {
            auto wav = testing_tools::noise(1, seconds * 16'000);
            wav.sample_rate_hz = 16'000;
            testing_tools::write_wav(folder_ / (std::to_string(seconds) + "s.wav"), wav);
        }
    }

    std::string file_source(const std::string& name) const {
        return "[[source]]\nname = 's" + name + "'\nfile = '" + (folder_ / (name + ".wav")).string() + "'\n";
    }

    /// Faults of a station with these sources and this rest, without the file's name.
    std::vector<std::string> faults_of(const std::string& sources, const std::string& rest,
                                       const std::string& model = "model", const std::string& position = "",
                                       const Bundle* in_use = nullptr) const {
        const auto path = folder_ / "c.toml";
        std::ofstream(path) << "[station]\nname = 'a'\n"
                            << position << "[model]\nbundle = '" << (folder_ / model).string() << "'\n"
                            << rest << sources;
        try {
            load_station(path, in_use);
        } catch (const ConfigError& error) {
            std::vector<std::string> lines;
            for (const auto& fault : error.faults()) lines.push_back(to_string(fault).substr(path.string().size()));
            return lines;
        }
        return {};
    }

    TemporaryFolder folder_;
};

TEST_F(StationFile, ReadsEachClassesNumberOfWindows) {
    EXPECT_THAT(faults_of(file_source("8s"), "[detection]\nmin_windows_by_class = { TOAD = 2 }\n"), IsEmpty());
    EXPECT_THAT(faults_of(file_source("8s"), "[detection.min_windows_by_class]\nNEWT = 2\nFROG = 0\nTOAD = 1.5\n"),
                ElementsAre(":7: detection.min_windows_by_class.FROG: 0 must be from 1 to 1000",
                            ":8: detection.min_windows_by_class.TOAD: must be a whole number"));
}

// 8 s of sound are 6 windows of 3 s at 1 s steps, 4 s are 2.
TEST_F(StationFile, RefusesARuleThatItsRecordingsCanNeverMeet) {
    const auto both = file_source("4s") + file_source("8s");
    EXPECT_THAT(faults_of(both, "[detection]\nmin_windows = 6\n"), IsEmpty());
    EXPECT_THAT(faults_of(both, "[detection]\nmin_windows = 7\n"),
                ElementsAre(":6: detection.min_windows: 7 windows are asked for, the longest recording gives 6: "
                            "nothing could be detected"));
    EXPECT_THAT(
        faults_of(file_source("4s"), "[detection.min_windows_by_class]\nTOAD = 3\n"),
        ElementsAre(HasSubstr(
            ":6: detection.min_windows_by_class.TOAD: 3 windows are asked for, the longest recording gives 2")));
    EXPECT_THAT(faults_of(file_source("4s"), "[detection]\nmin_windows = 3\n[analysis]\nhop_seconds = 0.5\n"),
                IsEmpty());
}

TEST_F(StationFile, HoldsNoRuleAgainstSoundThatMayGoOn) {
    const std::string live = "[[source]]\nname = 'live'\nlaunch = 'audiotestsrc'\n";
    EXPECT_THAT(faults_of(file_source("4s") + live, "[detection]\nmin_windows = 900\n"), IsEmpty());
    EXPECT_THAT(faults_of(file_source("absent"), "[detection]\nmin_windows = 900\n"), IsEmpty())
        << "a recording that isn't there yet is no fault of the rule";
}

TEST_F(StationFile, AsksForWhatTheActivityPriorNeeds) {
    const std::string live = "[[source]]\nname = 'live'\nlaunch = 'audiotestsrc'\n";
    const std::string prior = "[detection]\nactivity_prior = 1.0\n";
    EXPECT_THAT(faults_of(live, prior),
                ElementsAre(HasSubstr(":6: detection.activity_prior: the model has no activity table")));
    EXPECT_THAT(faults_of(live, prior, "dated"),
                ElementsAre(HasSubstr(":6: detection.activity_prior: the model's activity table goes by solar time")));
    EXPECT_THAT(faults_of(live, prior, "dated", "latitude = -22.8\nlongitude = -47.1\n"), IsEmpty());
    EXPECT_THAT(faults_of(live, "", "dated", "longitude = -47.1\n"),
                ElementsAre(HasSubstr("station: needs both latitude and longitude")));
}

TEST_F(StationFile, IsHeldAgainstTheModelInUseWhereThereIsOne) {
    const std::string live = "[[source]]\nname = 'live'\nlaunch = 'audiotestsrc'\n";
    Bundle in_use;
    in_use.labels = {{.code = "NEWT", .name = "", .group = ""}};
    in_use.thresholds = {0.5F};
    in_use.front_end.window_seconds = 1.0;
    const auto faults = [&](const std::string& rest) { return faults_of(live, rest, "model", "", &in_use); };
    EXPECT_THAT(faults("[detection.thresholds]\nNEWT = 0.4\n"), IsEmpty());
    EXPECT_THAT(faults("[analysis]\nhop_seconds = 2.0\n"),
                ElementsAre(HasSubstr(":6: analysis.hop_seconds: 2 is more than the model's window of 1 s")))
        << "the model named now may have a longer one; it is loaded later";
    EXPECT_THAT(faults_of(live, "", "absent", "", &in_use), IsEmpty()) << "nor opened now";
}

// A daemon must start with an older model, whatever its newer one's classes were.
TEST_F(StationFile, OnlyWarnsOfAClassThatTheModelLacks) {
    const std::string rest = "[detection.thresholds]\nFROG = 0.4\nNEWT = 0.4\n";
    EXPECT_THAT(faults_of(file_source("8s"), rest), IsEmpty());
    const auto path = folder_ / "c.toml";
    EXPECT_THAT(
        load_station(path).config.warnings,
        ElementsAre(path.string() + ":7: detection.thresholds.NEWT: the model has no such class: it is of no effect"));
}

TEST_F(StationFile, RefusesThresholdsThatNoScoreExceeds) {
    EXPECT_THAT(faults_of(file_source("8s"), "[detection]\nthreshold_scale = 2.0\n"),
                ElementsAre(HasSubstr(":6: detection.threshold_scale: every class's threshold is 1")));
    EXPECT_THAT(faults_of(file_source("8s"), "[detection]\nthreshold_scale = 2.0\nthresholds = { FROG = 0.9 }\n"),
                IsEmpty());
}

}  // namespace
}  // namespace chorus
