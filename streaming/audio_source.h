#pragma once

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "streaming/audio_block.h"

namespace chorus {

/// Where sound comes from. Used by one thread; request_stop() may be called by any.
class AudioSource {
  public:
    virtual ~AudioSource() = default;

    /// The next item, waiting at most `timeout`. Throws std::runtime_error with one clear line (URLs redacted) when the
    /// source failed; it may then be thrown away and opened anew.
    virtual SourceItem read(std::chrono::milliseconds timeout) = 0;

    /// A live source never waits for its reader, and its blocks are dated by capture; a file does.
    virtual bool is_live() const = 0;

    /// Makes a waiting read() return soon.
    virtual void request_stop() noexcept = 0;
};

/// How a GStreamer source is made. `launch` is any fragment of gst-launch syntax that ends with a source of raw audio,
/// for example "audiotestsrc is-live=true ! audio/x-raw,channels=4".
struct GStreamerOptions {
    std::string name;  // in messages
    std::string launch;
    bool realtime = false;  // play a file at its own speed
    /// Whether its sound comes as it sounds; empty: if GStreamer calls it live or it comes over a network.
    std::optional<bool> live = {};
    std::string rtsp_user = {};  // with launch_for_rtsp: empty where the URL names it, or none is needed
    std::string rtsp_password = {};
};

/// Opens and starts the pipeline; throws std::runtime_error with one clear line (no URL's user, password or query).
/// Opening and destroying it take as long as its elements do: for ever, if one hangs.
std::unique_ptr<AudioSource> open_gstreamer_source(const GStreamerOptions& options);

/// Whether GStreamer can make a pipeline of this fragment: its syntax, elements and properties; nothing is started.
/// Throws std::runtime_error with one clear line.
void check_launch(const std::string& launch);

/// Launch fragments of the short forms; paths and URLs are quoted for gst-launch.
std::string launch_for_file(const std::string& path);
std::string launch_for_alsa(const std::string& device);   // "hw:CARD=UMC404HD"
std::string launch_for_pulse(const std::string& device);  // empty: the default (PipeWire serves it too)
std::string launch_for_rtsp(const std::string& url, int latency_ms);
struct RtpOptions {
    std::string address = "127.0.0.1";
    int port = 0;
    std::string encoding = "L16";
    int rate_hz = 48000;
    int channels = 1;
};
std::string launch_for_rtp(const RtpOptions& options);

/// The text with user, password and query removed from every URL in it.
std::string redact_urls(std::string_view text);

}  // namespace chorus
