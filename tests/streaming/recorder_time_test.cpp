#include "streaming/recorder_time.h"

#include <gmock/gmock.h>

#include <fstream>
#include <sstream>

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;

UtcTime utc(int year, unsigned month, unsigned day, int hour, int minute, int second) {
    return std::chrono::sys_days(std::chrono::year(year) / std::chrono::month(month) / std::chrono::day(day)) +
           std::chrono::hours(hour) + std::chrono::minutes(minute) + std::chrono::seconds(second);
}

std::string number(std::uint64_t value, int bytes) {
    std::string text;
    for (int i = 0; i < bytes; ++i, value >>= 8) text += static_cast<char>(value & 0xff);
    return text;
}

std::string chunk(const std::string& id, const std::string& body) {
    return id + number(body.size(), 4) + body + (body.size() % 2 == 1 ? std::string(1, '\0') : "");
}

// A WAV file of 48 kHz with a little sound, chunks before and after it.
std::string wav(const std::string& before, const std::string& after = "") {
    const auto format = chunk(
        "fmt ", number(1, 2) + number(1, 2) + number(48'000, 4) + number(96'000, 4) + number(2, 2) + number(16, 2));
    const auto body = "WAVE" + format + before + chunk("data", std::string(101, 'x')) + after;
    return "RIFF" + number(body.size(), 4) + body;
}

std::string comment(const std::string& text) {
    return chunk("LIST", "INFO" + chunk("IART", "AudioMoth 24526B065D325963") + chunk("ICMT", text));
}

std::string bext(const std::string& date, const std::string& time, std::uint64_t reference) {
    return chunk("bext", std::string(320, '\0') + date + time + number(reference, 8) + std::string(10, '\0'));
}

std::optional<RecorderTime> told_by(const std::string& file) {
    std::istringstream stream(file);
    return time_in_metadata(stream);
}

TEST(TimeInName, ReadsTheNamesRecordersGive) {
    const auto night = utc(2019, 11, 23, 2, 14, 7);
    for (const char* name : {"INCT4_20191123_021407", "20191123_021407", "20191123_021407T",
                             "SWIFT-2_20191123_021407_left", "20191123T021407+0000_REC [-18.18+144.54]",
                             "S1087_20191123_021407Z", "A_20200101_000000_20191123_021407", "A 20191123-021407"}) {
        const auto time = time_in_name(name);
        ASSERT_TRUE(time) << name;
        EXPECT_EQ(time->utc(), night) << name;
    }
}

TEST(TimeInName, KnowsTheTimeZoneWhereItIsWritten) {
    EXPECT_FALSE(time_in_name("A_20191123_021407")->utc_offset);
    EXPECT_EQ(time_in_name("S_20191123_021407Z")->utc_offset, 0min);
    EXPECT_EQ(time_in_name("S_20191123_021407-0330")->utc(), utc(2019, 11, 23, 5, 44, 7));
    EXPECT_EQ(time_in_name("S_20191123_021407-0003")->utc_offset, std::nullopt) << "a counter";
    EXPECT_EQ(time_in_name("20191123T021407+1000_REC")->utc(), utc(2019, 11, 22, 16, 14, 7));
    // No zone reaches so far; a part's number has other lengths.
    EXPECT_FALSE(time_in_name("S_20191123_021407-1500")->utc_offset);
    EXPECT_FALSE(time_in_name("S_20191123_021407-001")->utc_offset);
    EXPECT_FALSE(time_in_name("S_20191123_021407-00001")->utc_offset);
}

TEST(TimeInName, RefusesWhatIsNoTime) {
    for (const char* name :
         {"", "a", "A_20191323_021407", "A_20191123_0214070", "A_20191123_02140", "A120191123_021407", "20191123021407",
          "A_20191123_250000", "A_00000000_000000", "5E90A4D4"}) {
        EXPECT_FALSE(time_in_name(name)) << name;
    }
}

TEST(TimeInMetadata, ReadsAudioMothsComment) {
    const auto at = [](const std::string& when) {
        return told_by(wav(comment("Recorded at " + when + " by AudioMoth 243B1F02 at medium gain.")));
    };
    EXPECT_EQ(at("19:00:00 10/05/2019 (UTC)")->utc(), utc(2019, 5, 10, 19, 0, 0));
    EXPECT_EQ(at("19:00:00 10/05/2019 (UTC+1)")->utc(), utc(2019, 5, 10, 18, 0, 0));
    EXPECT_EQ(at("19:00:00 10/05/2019 (UTC-3)")->utc(), utc(2019, 5, 10, 22, 0, 0));
    EXPECT_EQ(at("19:00:00 10/05/2019 (UTC+10)")->utc(), utc(2019, 5, 10, 9, 0, 0));
    EXPECT_EQ(at("19:00:00 10/05/2019 (UTC+5:30)")->utc(), utc(2019, 5, 10, 13, 30, 0));
    EXPECT_EQ(at("19:00:00.250 10/05/2019 (UTC)")->utc(), utc(2019, 5, 10, 19, 0, 0) + 250ms);
    for (const char* wrong : {"19:00:00 10/13/2019 (UTC)", "19:00 10/05/2019 (UTC)", "19:00:00 10/05/2019 (UTC+99)",
                              "19:00:00 10/05/2019 (UTC", ""})
        EXPECT_FALSE(at(wrong)) << wrong;
}

TEST(TimeInMetadata, ReadsGuanoAlsoAfterTheSound) {
    const auto at = [](const std::string& when) {
        return told_by(wav("", chunk("guan", "GUANO|Version: 1.0\nTimestamp: " + when + "\nMake:X\n")));
    };
    EXPECT_EQ(at("2017-04-29T03:32:00-03:00")->utc(), utc(2017, 4, 29, 6, 32, 0));
    EXPECT_EQ(at("2017-04-29T03:32:00.5Z")->utc(), utc(2017, 4, 29, 3, 32, 0) + 500ms);
    EXPECT_FALSE(at("2017-04-29T03:32:00")->utc_offset);
    EXPECT_FALSE(at("yesterday"));
}

TEST(TimeInMetadata, ReadsWildlifeAcousticsChunk) {
    const auto entry = [](int id, const std::string& text) {
        return number(static_cast<std::uint64_t>(id), 2) + number(text.size(), 4) + text;
    };
    const auto file = wav(chunk("wamd", entry(0, number(1, 2)) + entry(1, "SM4BAT-FS") +
                                            entry(5, "2014-04-02 22:59:14-05:00") + entry(6, "WGS84")));
    EXPECT_EQ(told_by(file)->utc(), utc(2014, 4, 3, 3, 59, 14));
}

TEST(TimeInMetadata, ReadsBextWithTheSamplesSinceMidnight) {
    const std::uint64_t midnight_to_two = 2 * 3600 * 48'000ULL;
    const auto shown = utc(2019, 11, 23, 2, 0, 0);
    EXPECT_EQ(told_by(wav(bext("2019-11-23", "02:00:00", midnight_to_two + 24'000)))->utc(), shown + 500ms);
    EXPECT_EQ(told_by(wav(bext("2019:11:23", "02:00:00", 0)))->utc(), shown);
    EXPECT_EQ(told_by(wav(bext("2019-11-23", "02-00-00", UINT64_MAX)))->utc(), shown);
    EXPECT_FALSE(told_by(wav(bext("0000-00-00", "00:00:00", 0))));
}

TEST(TimeInMetadata, FindsChunksAfterSoundOfMoreThanFourGigabytes) {
    // Only the sizes are large: the stream ends before, and nothing is found, but nothing breaks either.
    const auto ds64 = chunk("ds64", number(0, 8) + number(1ULL << 40, 8) + number(0, 12));
    const std::string file = "RF64" + number(0xffffffff, 4) + "WAVE" + ds64 + "data" + number(0xffffffff, 4) + "xxxx";
    EXPECT_FALSE(told_by(file));
    const auto small = chunk("ds64", number(0, 8) + number(4, 8) + number(0, 12));
    EXPECT_EQ(told_by("RF64" + number(0xffffffff, 4) + "WAVE" + small + "data" + number(0xffffffff, 4) + "xxxx" +
                      comment("Recorded at 19:00:00 10/05/2019 (UTC)"))
                  ->utc(),
              utc(2019, 5, 10, 19, 0, 0));
}

TEST(TimeInMetadata, SaysNothingOfBrokenFiles) {
    const auto whole =
        wav(comment("Recorded at 19:00:00 10/05/2019 (UTC)"), chunk("guan", "Timestamp:2017-04-29T03:32:00Z"));
    for (std::size_t length = 0; length < whole.size(); ++length) told_by(whole.substr(0, length));
    EXPECT_FALSE(told_by(""));
    EXPECT_FALSE(told_by("RIFF"));
    EXPECT_FALSE(told_by("fLaC" + whole.substr(4)));
}

class RecordingStartTest : public testing::Test {
  protected:
    RecordingStart start_of(const std::string& name, const std::string& bytes) const {
        const auto path = std::filesystem::path(testing::TempDir()) / name;
        std::ofstream(path, std::ios::binary) << bytes;
        const auto start = recording_start(path);
        std::filesystem::remove(path);
        return start;
    }
};

TEST_F(RecordingStartTest, BelievesMetadataBeforeTheName) {
    const auto file = wav(comment("Recorded at 19:00:00 10/05/2019 (UTC)"));
    EXPECT_EQ(start_of("x.wav", file).utc, utc(2019, 5, 10, 19, 0, 0));
    const auto other = start_of("A_20190510_190100.wav", file);
    EXPECT_EQ(other.utc, utc(2019, 5, 10, 19, 0, 0));
    EXPECT_THAT(other.warning, HasSubstr("2019-05-10T19:00:00Z, the name says 2019-05-10T19:01:00Z"));
}

TEST_F(RecordingStartTest, SaysNothingWhereTheyAgree) {
    EXPECT_THAT(start_of("A_20190510_190003.wav", wav(comment("Recorded at 19:00:00 10/05/2019 (UTC)"))).warning,
                IsEmpty());
    // A name in local time, as Song Meters give it.
    const auto local = start_of("A_20170429_033200.wav", wav(chunk("guan", "Timestamp:2017-04-29T03:32:00-03:00")));
    EXPECT_THAT(local.warning, IsEmpty());
    EXPECT_EQ(local.utc, utc(2017, 4, 29, 6, 32, 0));
    // Only the name knows the zone.
    const auto zoned = start_of("A_20191123_020000+0100.wav", wav(bext("2019-11-23", "02:00:00", 0)));
    EXPECT_THAT(zoned.warning, IsEmpty());
    EXPECT_EQ(zoned.utc, utc(2019, 11, 23, 1, 0, 0));
}

TEST_F(RecordingStartTest, TakesTheNameOfWhatCannotBeRead) {
    EXPECT_EQ(recording_start("/nowhere/A_20191123_021407.wav").utc, utc(2019, 11, 23, 2, 14, 7));
    EXPECT_FALSE(recording_start("/dev/zero").utc);
    EXPECT_FALSE(recording_start("").utc);
}

}  // namespace
}  // namespace chorus
