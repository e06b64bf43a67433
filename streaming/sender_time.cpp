#include "streaming/sender_time.h"

#include "streaming/gst_ptr.h"

namespace chorus::gst {
namespace {

using namespace std::chrono_literals;

constexpr auto kBelieved = 60s;
constexpr auto kNtpEpoch = std::chrono::sys_days(std::chrono::year(1900) / 1 / 1);

}  // namespace

std::optional<UtcTime> sender_time_of(GstBuffer* buffer, UtcTime now) {
    static const CapsPtr ntp(gst_caps_new_empty_simple("timestamp/x-ntp"));
    const auto* meta = gst_buffer_get_reference_timestamp_meta(buffer, ntp.get());
    if (meta == nullptr || !GST_CLOCK_TIME_IS_VALID(meta->timestamp)) return std::nullopt;
    const auto since_1900 = std::chrono::microseconds(static_cast<std::int64_t>(meta->timestamp / 1'000));
    const UtcTime time = UtcTime(kNtpEpoch) + since_1900;
    if (std::chrono::abs(time - now) > kBelieved) return std::nullopt;
    return time;
}

}  // namespace chorus::gst
