// Redaction and quoting: no login put into a URL may survive, and any value must be one word of a launch line.
#include <gst/gst.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "streaming/audio_source.h"

namespace {

constexpr std::string_view kSecret = "TADPOLE";

void check_redaction(const std::string& text) {
    const auto once = chorus::redact_urls(text);
    if (once.size() > text.size()) std::abort();
    // What surrounds a URL must not bring its login back; a login's own text may hold anything but the URL's bounds,
    // and a password anything but space.
    std::string inner;
    for (const char c : text) {
        if (std::string_view(" \t\r\n\v\f/?#@:'\"`<>").find(c) == std::string_view::npos) inner += c;
    }
    const auto url = "rtsp://" + inner + ":" + std::string(kSecret) + "@host/path?token=" + std::string(kSecret);
    std::string password;
    for (const char c : text) {
        if (std::string_view(" \t\r\n\v\f@").find(c) == std::string_view::npos) password += c;
    }
    if (password.find(kSecret) != std::string::npos) return;
    const auto unescaped = "rtsp://user:" + password + std::string(kSecret) + "@host/path";
    for (const auto& line : {url, "cannot open " + url + ": refused", "\"" + url + "\"", unescaped}) {
        if (chorus::redact_urls(line).find(kSecret) != std::string::npos) std::abort();
    }
}

// GStreamer itself must read back what was quoted.
void check_quoting(const std::string& text) {
    const std::string value = text.substr(0, text.find('\0'));
    if (!g_utf8_validate(value.data(), static_cast<gssize>(value.size()), nullptr)) return;
    static const bool ready = gst_init_check(nullptr, nullptr, nullptr) != FALSE;
    if (!ready) std::abort();
    const auto launch = chorus::launch_for_file("/" + value);
    const auto end = launch.rfind(" ! decodebin");
    GError* error = nullptr;
    GstElement* const source = gst_parse_launch(launch.substr(0, end).c_str(), &error);
    if (source == nullptr || error != nullptr) std::abort();
    gchar* location = nullptr;
    g_object_get(source, "location", &location, nullptr);
    if (location == nullptr || "/" + value != location) std::abort();
    g_free(location);
    gst_object_unref(source);
}

}  // namespace

// GLib never gives back what it takes as it is loaded.
extern "C" const char* __lsan_default_suppressions() {
    return "leak:libglib-2.0.so\n";
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string text(reinterpret_cast<const char*>(data), size);
    check_redaction(text);
    check_quoting(text);
    return 0;
}
