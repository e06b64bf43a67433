// An RTSP server as cameras are: rtsp_server PORT RATE_HZ CHANNELS serves live noise as L16 at
// rtsp://127.0.0.1:PORT/audio.

#include <gst/rtsp-server/rtsp-server.h>

#include <iostream>
#include <string>

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: rtsp_server PORT RATE_HZ CHANNELS\n";
        return 2;
    }
    gst_init(nullptr, nullptr);
    const std::string launch = std::string("( audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=") +
                               argv[2] + ",channels=" + argv[3] + " ! audioconvert ! rtpL16pay name=pay0 )";
    GstRTSPServer* server = gst_rtsp_server_new();
    gst_rtsp_server_set_address(server, "127.0.0.1");
    gst_rtsp_server_set_service(server, argv[1]);
    GstRTSPMediaFactory* factory = gst_rtsp_media_factory_new();
    gst_rtsp_media_factory_set_launch(factory, launch.c_str());
    gst_rtsp_media_factory_set_shared(factory, TRUE);
    GstRTSPMountPoints* mounts = gst_rtsp_server_get_mount_points(server);
    gst_rtsp_mount_points_add_factory(mounts, "/audio", factory);
    g_object_unref(mounts);
    if (gst_rtsp_server_attach(server, nullptr) == 0) {
        std::cerr << "cannot listen on port " << argv[1] << '\n';
        return 1;
    }
    std::cerr << "listening on 127.0.0.1:" << argv[1] << std::endl;
    g_main_loop_run(g_main_loop_new(nullptr, FALSE));
}
