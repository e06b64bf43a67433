#include <gtest/gtest.h>

#include <random>
#include <stdexcept>

#include "streaming/audio_source.h"

namespace chorus {
namespace {

TEST(RedactUrls, TakesUserPasswordAndQueryOut) {
    EXPECT_EQ(redact_urls("rtsp://keeper:sesame@pond.example:554/cam/1?token=abc"), "rtsp://pond.example:554/cam/1");
    EXPECT_EQ(redact_urls("cannot open rtsp://keeper@pond/1: refused"), "cannot open rtsp://pond/1: refused");
    EXPECT_EQ(redact_urls("http://h?a=1 and srt+x://u:p@[::1]:9/s?b=2#f then ftp://h/"),
              "http://h and srt+x://[::1]:9/s then ftp://h/");
    EXPECT_EQ(redact_urls("http://a.b/x,rtsp://u:p@cam/y?z=1"), "http://a.b/x,rtsp://cam/y");
    EXPECT_EQ(redact_urls("rtspsrc location=\"rtsp://u:p@h/x?t=1\" latency=200"),
              "rtspsrc location=\"rtsp://h/x\" latency=200");
}

TEST(RedactUrls, FindsPasswordsThatWereNotEscaped) {
    EXPECT_EQ(redact_urls("rtsp://u:p/w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://u:p?w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://u:p'w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://u:p@w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://u:12/34w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://u:12?34w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://[u:w@h/x"), "rtsp://h/x");
    EXPECT_EQ(redact_urls("rtsp://[::1]/x@2"), "rtsp://[::1]/x@2");
}

TEST(RedactUrls, LeavesOtherTextAsItIs) {
    for (const std::string text :
         {"", "no URL here", "a@b.example?x=1", "://", "rtsp://", "rtsp://h:554/cam", "rtsp://h/cam@2",
          "rtsp://[::1]:554/x", "file:///recordings/a b.wav", "50 % of user:password@host?x", "http://", "x://y://z"}) {
        EXPECT_EQ(redact_urls(text), text);
    }
}

TEST(RedactUrls, EndsOnAnyTextAndNeverMakesItLonger) {
    std::mt19937 random(5);
    const std::string alphabet("a:/@?#[]\"' ://\0\xff\n9", 19);
    for (int round = 0; round < 50'000; ++round) {
        std::string text(random() % 40, ' ');
        for (auto& c : text) c = alphabet[random() % alphabet.size()];
        const auto redacted = redact_urls(text);
        ASSERT_LE(redacted.size(), text.size());
        if (text.find("://") == std::string::npos) {
            ASSERT_EQ(redacted, text);
        }
    }
}

TEST(Launch, RefusesRtpThatCannotBe) {
    EXPECT_THROW(launch_for_rtp({.port = 0}), std::invalid_argument);
    EXPECT_THROW(launch_for_rtp({.port = 65'536}), std::invalid_argument);
    EXPECT_THROW(launch_for_rtp({.port = 5'000, .encoding = "L16 ! filesink"}), std::invalid_argument);
    EXPECT_THROW(launch_for_rtp({.port = 5'000, .channels = 0}), std::invalid_argument);
}

TEST(Launch, LeavesThePulseDeviceOpenWhereNoneIsNamed) {
    EXPECT_EQ(launch_for_pulse(""), "pulsesrc");
    EXPECT_EQ(launch_for_pulse("mic"), "pulsesrc device=\"mic\"");
    EXPECT_EQ(launch_for_alsa("hw:CARD=UMC404HD"), "alsasrc device=\"hw:CARD=UMC404HD\"");
}

}  // namespace
}  // namespace chorus
