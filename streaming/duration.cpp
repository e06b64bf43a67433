#include "streaming/duration.h"

#include <gst/gst.h>
#include <gst/pbutils/pbutils.h>

#include "streaming/gst_ptr.h"

namespace chorus {
namespace {

using DiscovererPtr = std::unique_ptr<GstDiscoverer, gst::Release<g_object_unref>>;
using DiscoveredPtr = std::unique_ptr<GstDiscovererInfo, gst::Release<g_object_unref>>;

}  // namespace

std::optional<double> recording_seconds(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
    if (gst_init_check(nullptr, nullptr, nullptr) == FALSE) return std::nullopt;
    const gst::StringPtr uri(gst_filename_to_uri(path.c_str(), nullptr));
    const DiscovererPtr discoverer(gst_discoverer_new(2 * GST_SECOND, nullptr));
    if (!uri || !discoverer) return std::nullopt;
    const DiscoveredPtr found(gst_discoverer_discover_uri(discoverer.get(), uri.get(), nullptr));
    if (!found || gst_discoverer_info_get_result(found.get()) != GST_DISCOVERER_OK) return std::nullopt;
    const GstClockTime duration = gst_discoverer_info_get_duration(found.get());
    if (!GST_CLOCK_TIME_IS_VALID(duration) || duration == 0) return std::nullopt;
    return static_cast<double>(duration) / static_cast<double>(GST_SECOND);
}

}  // namespace chorus
