#include "streaming/arrival_time.h"

#include "streaming/gst_ptr.h"

namespace chorus::gst {
namespace {

using std::chrono::nanoseconds;
using std::chrono::steady_clock;

GstCaps* arrival_caps() {
    static const CapsPtr caps(gst_caps_new_empty_simple("timestamp/x-chorus-arrival"));
    return caps.get();
}

GstPadProbeReturn note_arrival(GstPad*, GstPadProbeInfo* info, gpointer) noexcept {
    auto* const buffer = gst_buffer_make_writable(GST_PAD_PROBE_INFO_BUFFER(info));
    const nanoseconds now(steady_clock::now().time_since_epoch());
    gst_buffer_add_reference_timestamp_meta(buffer, arrival_caps(), static_cast<GstClockTime>(now.count()),
                                            GST_CLOCK_TIME_NONE);
    GST_PAD_PROBE_INFO_DATA(info) = buffer;
    return GST_PAD_PROBE_OK;
}

}  // namespace

void note_arrivals(GstPad* pad) {
    gst_pad_add_probe(pad, GST_PAD_PROBE_TYPE_BUFFER, note_arrival, nullptr, nullptr);
}

MonotonicTime arrival_of(GstBuffer* buffer) {
    const auto* meta = gst_buffer_get_reference_timestamp_meta(buffer, arrival_caps());
    if (meta == nullptr) return steady_clock::now();
    return MonotonicTime(nanoseconds(static_cast<std::int64_t>(meta->timestamp)));
}

}  // namespace chorus::gst
