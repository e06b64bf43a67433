// A camera's sound, from GStreamer's own RTSP server.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gst/rtsp-server/rtsp-server.h>

#include <optional>
#include <thread>

#include "recording.h"
#include "streaming/audio_source.h"
#include "streaming/gst_ptr.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using namespace testing_tools;

struct Login {
    const char* user;
    const char* password;
};

/// Serves one stream at rtsp://127.0.0.1:PORT/audio while it lives; with a login, to those who have it.
class RtspServer {
  public:
    explicit RtspServer(const std::string& launch, std::optional<Login> login = std::nullopt) {
        gst_init(nullptr, nullptr);
        g_main_context_push_thread_default(context_);
        gst_rtsp_server_set_address(server_, "127.0.0.1");
        gst_rtsp_server_set_service(server_, "0");
        GstRTSPMountPoints* const mounts = gst_rtsp_server_get_mount_points(server_);
        GstRTSPMediaFactory* const factory = gst_rtsp_media_factory_new();
        gst_rtsp_media_factory_set_launch(factory, launch.c_str());
        if (login) ask_for(*login, factory);
        gst_rtsp_mount_points_add_factory(mounts, "/audio", factory);
        g_object_unref(mounts);
        source_ = gst_rtsp_server_attach(server_, context_);
        g_main_context_pop_thread_default(context_);
        thread_ = std::thread([this] { g_main_loop_run(loop_); });
    }
    ~RtspServer() {
        GSource* const quit = g_idle_source_new();
        g_source_set_callback(
            quit,
            [](gpointer loop) {
                g_main_loop_quit(static_cast<GMainLoop*>(loop));
                return G_SOURCE_REMOVE;
            },
            loop_, nullptr);
        g_source_attach(quit, context_);
        g_source_unref(quit);
        thread_.join();
        g_source_destroy(g_main_context_find_source_by_id(context_, source_));
        g_object_unref(server_);
        g_main_loop_unref(loop_);
        g_main_context_unref(context_);
    }
    RtspServer(const RtspServer&) = delete;
    RtspServer& operator=(const RtspServer&) = delete;

    std::string url() const {
        return fmt::format("rtsp://127.0.0.1:{}/audio", gst_rtsp_server_get_bound_port(server_));
    }

  private:
    void ask_for(const Login& login, GstRTSPMediaFactory* factory) {
        GstRTSPAuth* const auth = gst_rtsp_auth_new();
        GstRTSPToken* const token =
            gst_rtsp_token_new(GST_RTSP_TOKEN_MEDIA_FACTORY_ROLE, G_TYPE_STRING, "listener", nullptr);
        gchar* const basic = gst_rtsp_auth_make_basic(login.user, login.password);
        gst_rtsp_auth_add_basic(auth, basic, token);
        gst_rtsp_server_set_auth(server_, auth);
        gst_rtsp_media_factory_add_role(factory, "listener", GST_RTSP_PERM_MEDIA_FACTORY_ACCESS, G_TYPE_BOOLEAN, TRUE,
                                        GST_RTSP_PERM_MEDIA_FACTORY_CONSTRUCT, G_TYPE_BOOLEAN, TRUE, nullptr);
        g_free(basic);
        gst_rtsp_token_unref(token);
        g_object_unref(auth);
    }

    GMainContext* const context_ = g_main_context_new();
    GMainLoop* const loop_ = g_main_loop_new(context_, FALSE);
    GstRTSPServer* const server_ = gst_rtsp_server_new();
    guint source_ = 0;
    std::thread thread_;
};

// Reads until a block is dated by its sender; the last block that was read.
AudioBlock first_dated_by_sender(AudioSource& source) {
    AudioBlock last;
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (!last.sender_time && std::chrono::steady_clock::now() < deadline) {
        auto item = source.read(200ms);
        if (auto* block = std::get_if<AudioBlock>(&item)) last = std::move(*block);
    }
    return last;
}

class RtspSource : public testing::TestWithParam<const char*> {};

TEST_P(RtspSource, IsDatedByItsSender) {
    const RtspServer server(
        fmt::format("( audiotestsrc is-live=true ! audio/x-raw,rate=48000,channels=2 ! {} )", GetParam()));
    const auto source = open_gstreamer_source({.name = "camera", .launch = launch_for_rtsp(server.url(), 100)});
    EXPECT_TRUE(source->is_live());
    const auto block = first_dated_by_sender(*source);
    EXPECT_EQ(block.channels, 2);
    ASSERT_TRUE(block.sender_time);
    const std::chrono::duration<double> age = std::chrono::system_clock::now() - *block.capture_time;
    EXPECT_GE(age.count(), 0.0);
    EXPECT_LT(age.count(), 3.0);
    // From then on each block is, and their times go with their samples.
    std::int64_t frames = 0;
    while (frames < 48'000) {
        const auto item = source->read(200ms);
        const auto* next = std::get_if<AudioBlock>(&item);
        if (next == nullptr) continue;
        frames += next->frames();
        ASSERT_TRUE(next->sender_time && next->capture_time);
        const std::chrono::duration<double> since = *next->capture_time - *block.capture_time;
        EXPECT_NEAR(since.count(), static_cast<double>(next->first_sample - block.first_sample) / 48'000, 0.05);
    }
}

// Why a source fails; empty when sound comes.
std::string failure_of(const GStreamerOptions& options) {
    try {
        const auto source = open_gstreamer_source(options);
        for (const auto deadline = std::chrono::steady_clock::now() + 20s;
             std::chrono::steady_clock::now() < deadline;) {
            if (std::holds_alternative<AudioBlock>(source->read(200ms))) return "";
        }
        return "neither sound nor an error";
    } catch (const std::runtime_error& error) {
        return error.what();
    }
}

TEST(RtspLogin, OpensTheStreamAndShowsInNoError) {
    const RtspServer server(
        "( audiotestsrc is-live=true ! audio/x-raw,rate=48000 ! audioconvert ! rtpL16pay name=pay0 )",
        Login{"frog", "tad/pole"});
    const auto launch = launch_for_rtsp(server.url() + "?token=spawn", 100);
    EXPECT_EQ(failure_of({.name = "camera",
                          .launch = launch_for_rtsp(server.url(), 100),
                          .rtsp_user = "frog",
                          .rtsp_password = "tad/pole"}),
              "");
    const auto address = server.url().substr(std::string("rtsp://").size());
    for (const auto& error :
         {failure_of({.name = "camera", .launch = launch}),
          failure_of({.name = "camera", .launch = launch, .rtsp_user = "newt", .rtsp_password = "tad/pole"}),
          failure_of({.name = "camera", .launch = launch, .rtsp_user = "frog", .rtsp_password = "newt"}),
          failure_of(
              {.name = "camera", .launch = launch_for_rtsp("rtsp://frog:newt@" + address + "?token=spawn", 100)})}) {
        EXPECT_THAT(error, testing::StartsWith("camera: "));
        for (const char* secret : {"frog", "newt", "tad", "pole", "spawn"}) {
            EXPECT_THAT(error, testing::Not(testing::HasSubstr(secret)));
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Encodings, RtspSource,
                         testing::Values("audioconvert ! rtpL16pay name=pay0", "opusenc ! rtpopuspay name=pay0",
                                         "avenc_aac ! rtpmp4gpay name=pay0"));

}  // namespace
}  // namespace chorus
