#include "daemon/time_format.h"

#include <gtest/gtest.h>

#include "daemon/config.h"

namespace chorus {
namespace {

TEST(TimeFormat, WritesAndReadsIso8601) {
    const auto time = from_iso8601("2026-11-23T02:14:07.12Z");
    ASSERT_TRUE(time);
    EXPECT_EQ(to_iso8601(*time), "2026-11-23T02:14:07.120000Z");
    EXPECT_EQ(to_iso8601(*from_iso8601("1969-12-31T23:59:59.5Z")), "1969-12-31T23:59:59.500000Z");
}

TEST(TimeFormat, RefusesWhatIsNoTime) {
    for (const char* text :
         {"", "2026-11-23", "2026-02-30T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T02:14:07",
          "2026-11-23T02:14:07.Z", "2026-11-23T02:14:07.1234567Z", "2026-11-23 02:14:07Z", "xxxx-11-23T02:14:07Z"}) {
        EXPECT_FALSE(from_iso8601(text)) << text;
    }
}

TEST(StartFromFileName, ReadsRecorderNames) {
    const auto start = [](const char* name) {
        const auto time = start_from_file_name(name);
        return time ? to_iso8601(*time) : "";
    };
    EXPECT_EQ(start("/data/INCT4_20191123_021407.wav"), "2019-11-23T02:14:07.000000Z");
    EXPECT_EQ(start("S4A03895_20190522_000000_left.wav"), "2019-05-22T00:00:00.000000Z");
    EXPECT_EQ(start("A_20200101_000000_20210101_000000.wav"), "2021-01-01T00:00:00.000000Z");
    for (const char* name : {"", "a.wav", "20191123_021407.wav", "A_20191323_021407.wav", "A_20191123_0214070.wav",
                             "_20191123_02140.wav"}) {
        EXPECT_EQ(start(name), "") << name;
    }
}

}  // namespace
}  // namespace chorus
