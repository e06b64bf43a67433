#include "daemon/time_format.h"

#include <gtest/gtest.h>

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

}  // namespace
}  // namespace chorus
