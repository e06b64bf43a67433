#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "streaming/arrival_time.h"
#include "streaming/audio_source.h"
#include "streaming/gst_error.h"
#include "streaming/gst_ptr.h"
#include "streaming/loss_detector.h"
#include "streaming/pcm.h"
#include "streaming/sample_clock.h"
#include "streaming/sender_time.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using std::chrono::steady_clock;

constexpr auto kLiveQueue = 5s;           // sound of a live source that waits here for its reader before it is lost
constexpr auto kFileQueue = 1s;           // sound of a file decoded ahead
constexpr guint kQueueBytes = 64U << 20;  // bound for buffers that carry no times
constexpr auto kStopPoll = 20ms;          // how late a stop or an error may be noticed
constexpr auto kOpenPatience = 1s;        // for a file to show its first sound or its fault
constexpr int kBlocksPerSecond = 8;       // blocks are at most about this long, 125 ms

// The integer formats are turned into floats here: exactly, and several times faster than audioconvert does it.
// Anything else audioconvert makes one of these. It can't mix: the count is left open towards the sink, so it keeps the
// one that arrives, and see forget_positions.
constexpr std::string_view kTail =
    " ! queue name=chorus_queue ! audioconvert dithering=none"
    " ! audio/x-raw,format=(string){F32LE,S32LE,S24LE,S16LE},layout=interleaved"
    " ! appsink name=chorus_sink max-buffers=32 drop=false";

void initialise_gstreamer() {
    static std::once_flag once;
    std::call_once(once, [] {
        GError* raw = nullptr;
        const bool ready = gst_init_check(nullptr, nullptr, &raw) != FALSE;
        const gst::ErrorPtr error(raw);
        if (!ready) throw std::runtime_error(fmt::format("GStreamer: {}", error ? error->message : "cannot start"));
    });
}

// Throws std::runtime_error with what GStreamer has against the fragment.
gst::ElementPtr parse_pipeline(const std::string& launch) {
    GError* raw = nullptr;
    gst::ElementPtr pipeline(gst_parse_launch((launch + std::string(kTail)).c_str(), &raw));
    const gst::ErrorPtr error(raw);
    if (error) throw std::runtime_error(redact_urls(error->message));
    if (!pipeline || !GST_IS_BIN(pipeline.get())) throw std::runtime_error("not a pipeline");
    return pipeline;
}

guint64 nanoseconds(std::chrono::nanoseconds duration) {
    return static_cast<guint64>(duration.count());
}

std::optional<PcmFormat> pcm_format(GstAudioFormat format) {
    switch (format) {
        case GST_AUDIO_FORMAT_S16LE:
            return PcmFormat::kS16;
        case GST_AUDIO_FORMAT_S24LE:
            return PcmFormat::kS24;
        case GST_AUDIO_FORMAT_S32LE:
            return PcmFormat::kS32;
        case GST_AUDIO_FORMAT_F32LE:
            return PcmFormat::kF32;
        default:
            return std::nullopt;
    }
}

// GStreamer's converter crashes beyond.
constexpr int kMostChannels = 63;

// The channels of an array are no surround positions. Many recorders write no positions or nonsense, which audioconvert
// refuses; so it is told that there are none, and has no reason to mix either.
GstPadProbeReturn forget_positions(GstPad* pad, GstPadProbeInfo* info, gpointer) noexcept {
    GstEvent* const event = GST_PAD_PROBE_INFO_EVENT(info);
    if (GST_EVENT_TYPE(event) != GST_EVENT_CAPS) return GST_PAD_PROBE_OK;
    GstCaps* caps = nullptr;
    gst_event_parse_caps(event, &caps);
    const GstStructure* const structure = gst_caps_get_structure(caps, 0);
    int channels = 0;
    if (!gst_structure_has_name(structure, "audio/x-raw") || !gst_structure_get_int(structure, "channels", &channels) ||
        channels <= 2) {
        return GST_PAD_PROBE_OK;
    }
    if (channels > kMostChannels) {
        GST_ELEMENT_ERROR(GST_PAD_PARENT(pad), STREAM, FORMAT,
                          ("%d channels are more than the %d that can be converted", channels, kMostChannels),
                          (nullptr));
        return GST_PAD_PROBE_DROP;
    }
    const gst::CapsPtr changed(gst_caps_copy(caps));
    gst_caps_set_simple(changed.get(), "channel-mask", GST_TYPE_BITMASK, guint64{0}, nullptr);
    GST_PAD_PROBE_INFO_DATA(info) = gst_event_new_caps(changed.get());
    gst_event_unref(event);
    return GST_PAD_PROBE_OK;
}

struct Format {
    int sample_rate_hz = 0;
    int channels = 0;
    bool operator==(const Format&) const = default;
};

class GStreamerSource final : public AudioSource {
  public:
    explicit GStreamerSource(const GStreamerOptions& options) : name_(options.name) {
        parse(options.launch);
        if (!options.rtsp_user.empty()) log_in(options.rtsp_user, options.rtsp_password);
        try {
            start(options);
        } catch (...) {
            close();
            throw;
        }
    }

    ~GStreamerSource() override { close(); }

    GStreamerSource(const GStreamerSource&) = delete;
    GStreamerSource& operator=(const GStreamerSource&) = delete;

    SourceItem read(std::chrono::milliseconds timeout) override {
        const auto deadline = steady_clock::now() + timeout;
        for (;;) {
            if (stopping_) return EndOfStream{};
            if (!ready_.empty()) {
                pending_error();  // kept for when all sound has been read
                auto item = std::move(ready_.front());
                ready_.pop_front();
                return item;
            }
            // Nobody waits for a block to fill when sound comes at its own speed: what is there goes out.
            const bool send_what_is_there = paced_ && block_.frames() > 0;
            const auto left = std::chrono::duration_cast<std::chrono::nanoseconds>(deadline - steady_clock::now());
            const auto wait = send_what_is_there ? 0ns : std::clamp<std::chrono::nanoseconds>(left, 0ns, kStopPoll);
            if (const gst::SamplePtr sample{gst_app_sink_try_pull_sample(sink(), nanoseconds(wait))}) {
                take(sample.get());
                continue;
            }
            const bool ended = gst_app_sink_is_eos(sink()) != FALSE;
            const auto error = pending_error();
            if (send_what_is_there || ((ended || error || left <= 0ns) && block_.frames() > 0)) {
                flush();
                continue;
            }
            if (error) throw std::runtime_error(*error);
            if (ended) {
                if (!live_ && next_sample_ == 0)
                    throw std::runtime_error(gst::describe_silence(name_, pipeline_.get()));
                return EndOfStream{};
            }
            if (left <= 0ns) return NothingYet{};
        }
    }

    bool is_live() const override { return live_; }

    void request_stop() noexcept override { stopping_ = true; }

  private:
    GstAppSink* sink() const { return GST_APP_SINK(sink_.get()); }

    void parse(const std::string& launch) {
        try {
            pipeline_ = parse_pipeline(launch);
        } catch (const std::runtime_error& error) {
            throw std::runtime_error(fmt::format("{}: {}", name_, error.what()));
        }
        sink_.reset(gst_bin_get_by_name(GST_BIN(pipeline_.get()), "chorus_sink"));
        queue_.reset(gst_bin_get_by_name(GST_BIN(pipeline_.get()), "chorus_queue"));
        bus_.reset(gst_element_get_bus(pipeline_.get()));
        bound_queue(kFileQueue, "no");
        const gst::PadPtr input(gst_element_get_static_pad(queue_.get(), "sink"));
        gst_pad_add_probe(input.get(), GST_PAD_PROBE_TYPE_EVENT_DOWNSTREAM, forget_positions, nullptr, nullptr);
        gst::note_arrivals(input.get());  // sound may wait in the queue for its reader
    }

    // As properties, since a launch fragment may be shown.
    void log_in(const std::string& user, const std::string& password) {
        const gst::ElementPtr rtsp(gst_bin_get_by_name(GST_BIN(pipeline_.get()), "rtspsrc"));
        if (!rtsp) throw std::invalid_argument(name_ + ": a login without an RTSP source");
        g_object_set(rtsp.get(), "user-id", user.c_str(), "user-pw", password.c_str(), nullptr);
    }

    void bound_queue(std::chrono::nanoseconds time, const char* leaky) {
        g_object_set(queue_.get(), "max-size-buffers", 0U, "max-size-bytes", kQueueBytes, "max-size-time",
                     nanoseconds(time), nullptr);
        gst_util_set_object_arg(G_OBJECT(queue_.get()), "leaky", leaky);
    }

    // "Source/Network" is GStreamer's own class of what reads from a network; many of those don't call themselves live.
    bool is_fed_by_network() const {
        const auto is_network = [](const GValue* value, gpointer found) {
            auto* const factory = gst_element_get_factory(GST_ELEMENT(g_value_get_object(value)));
            const char* const kind =
                factory != nullptr ? gst_element_factory_get_metadata(factory, GST_ELEMENT_METADATA_KLASS) : nullptr;
            if (kind != nullptr && std::string_view(kind).find("Source/Network") != std::string_view::npos)
                *static_cast<bool*>(found) = true;
        };
        bool found = false;
        GstIterator* const elements = gst_bin_iterate_recurse(GST_BIN(pipeline_.get()));
        while (gst_iterator_foreach(elements, is_network, &found) == GST_ITERATOR_RESYNC) gst_iterator_resync(elements);
        gst_iterator_free(elements);
        return found;
    }

    void start(const GStreamerOptions& options) {
        g_object_set(sink_.get(), "sync", FALSE, nullptr);
        auto change = gst_element_set_state(pipeline_.get(), GST_STATE_PAUSED);
        clocked_ = change == GST_STATE_CHANGE_NO_PREROLL;
        if (!clocked_ && change != GST_STATE_CHANGE_FAILURE) {
            g_object_set(sink_.get(), "sync", options.realtime ? TRUE : FALSE, nullptr);
            wait_for_first_sound();
        }
        live_ = clocked_ || options.live.value_or(is_fed_by_network());
        paced_ = live_ || options.realtime;
        // What no clock paces waits in its sender: only a clock tells how much a leaking queue has lost.
        if (clocked_) bound_queue(kLiveQueue, "downstream");
        if (change != GST_STATE_CHANGE_FAILURE) change = gst_element_set_state(pipeline_.get(), GST_STATE_PLAYING);
        if (const auto error = pending_error()) throw std::runtime_error(*error);
        if (change == GST_STATE_CHANGE_FAILURE) throw std::runtime_error(name_ + ": cannot be started");
    }

    // So that a file's fault is known when it is opened. A slow source (a URL) goes on in read().
    void wait_for_first_sound() {
        const auto types = static_cast<GstMessageType>(GST_MESSAGE_ERROR | GST_MESSAGE_ASYNC_DONE | GST_MESSAGE_EOS);
        const gst::MessagePtr message(gst_bus_timed_pop_filtered(bus_.get(), nanoseconds(kOpenPatience), types));
        if (message && GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR) {
            throw std::runtime_error(gst::describe_error(name_, pipeline_.get(), message.get()));
        }
    }

    // The bus's other messages (warnings of damaged frames, tags, state changes) are of no interest here, but must not
    // pile up.
    std::optional<std::string> pending_error() {
        if (failure_) return failure_;
        while (const gst::MessagePtr message{gst_bus_pop(bus_.get())}) {
            if (GST_MESSAGE_TYPE(message.get()) == GST_MESSAGE_ERROR) {
                failure_ = gst::describe_error(name_, pipeline_.get(), message.get());
                return failure_;
            }
        }
        return std::nullopt;
    }

    void take(GstSample* sample) {
        GstBuffer* const buffer = gst_sample_get_buffer(sample);
        if (buffer == nullptr) return;
        const auto received = gst::arrival_of(buffer);
        adopt_format(gst_sample_get_caps(sample));

        const gst::MappedBuffer bytes(buffer);
        const auto running_time = running_time_of(buffer, gst_sample_get_segment(sample));
        if (clocked_) {
            const auto frames = static_cast<std::int64_t>(bytes.size() / reader_->frame_bytes());
            const bool flagged = GST_BUFFER_FLAG_IS_SET(buffer, GST_BUFFER_FLAG_DISCONT);
            if (const auto lost = loss_->lost_before(running_time, frames, flagged); lost > 0) {
                reader_->restart();
                break_off({lost, format_.sample_rate_hz, true, "lost"});
            }
        }
        if (block_.samples.empty()) {
            block_.samples.reserve(static_cast<std::size_t>(full_frames()) *
                                       static_cast<std::size_t>(format_.channels) +
                                   bytes.size() / bytes_per_sample(reader_->format()));
            if (live_) date_block(buffer, running_time, received, bytes.size() / reader_->frame_bytes());
        }
        reader_->read({bytes.data(), bytes.size()}, block_.samples);
        block_.received = received;
        if (block_.frames() >= full_frames()) flush();
    }

    int full_frames() const { return std::max(format_.sample_rate_hz / kBlocksPerSecond, 1); }

    void adopt_format(GstCaps* caps) {
        if (caps == caps_.get()) return;
        GstAudioInfo info;
        const auto pcm = caps != nullptr && gst_audio_info_from_caps(&info, caps) != FALSE
                             ? pcm_format(GST_AUDIO_INFO_FORMAT(&info))
                             : std::nullopt;
        if (!pcm) throw std::runtime_error(name_ + ": sound of an unknown format");
        caps_.reset(gst_caps_ref(caps));

        const Format arrived{GST_AUDIO_INFO_RATE(&info), GST_AUDIO_INFO_CHANNELS(&info)};
        if (arrived != format_) {
            // The index goes on at the new rate; what was lost meanwhile is unknown.
            if (format_.channels != 0) break_off({0, arrived.sample_rate_hz, false, "format"});
            format_ = arrived;
            loss_.emplace(format_.sample_rate_hz);
            block_.sample_rate_hz = format_.sample_rate_hz;
            block_.channels = format_.channels;
        }
        reader_.emplace(*pcm, format_.channels);
    }

    void break_off(Gap gap) {
        flush();
        next_sample_ += gap.samples;
        block_.first_sample = next_sample_;
        ready_.emplace_back(std::move(gap));
    }

    void flush() {
        if (block_.frames() == 0) return;
        next_sample_ += block_.frames();
        ready_.emplace_back(std::exchange(block_, AudioBlock{}));
        block_.first_sample = next_sample_;
        block_.sample_rate_hz = format_.sample_rate_hz;
        block_.channels = format_.channels;
    }

    static std::optional<std::int64_t> running_time_of(GstBuffer* buffer, const GstSegment* segment) {
        if (!GST_BUFFER_PTS_IS_VALID(buffer) || segment == nullptr || segment->format != GST_FORMAT_TIME) return {};
        const auto time = gst_segment_to_running_time(segment, GST_FORMAT_TIME, GST_BUFFER_PTS(buffer));
        if (!GST_CLOCK_TIME_IS_VALID(time)) return {};
        return static_cast<std::int64_t>(time);
    }

    // The sender knows best when it captured the sound; the network only delays it. Once it has said so, this machine's
    // clock is no longer asked: the two need not agree.
    void date_block(GstBuffer* buffer, std::optional<std::int64_t> running_time_ns, steady_clock::time_point received,
                    std::size_t frames) {
        const auto now = std::chrono::time_point_cast<std::chrono::microseconds>(std::chrono::system_clock::now());
        block_.capture_time = gst::sender_time_of(buffer, now);
        if (block_.capture_time) dated_by_sender_ = true;
        block_.sender_time = dated_by_sender_;
        if (dated_by_sender_) return;
        if (clocked_ && running_time_ns) {
            block_.capture_time = utc_of(*running_time_ns);
        } else if (!clocked_) {  // its times of play say nothing: its last sample has sounded when it arrives
            const auto arrived =
                now - std::chrono::duration_cast<std::chrono::microseconds>(steady_clock::now() - received);
            block_.capture_time =
                arrived - SampleClock::offset(static_cast<std::int64_t>(frames), format_.sample_rate_hz);
            block_.dated_by_arrival = true;
        }
    }

    // The pipeline's clock is often the sound card's, which drifts against UTC by seconds a day. So both are read
    // together for every block, and only the short time since its capture is measured on the pipeline's clock.
    std::optional<UtcTime> utc_of(std::int64_t running_time_ns) const {
        const gst::ClockPtr clock(gst_element_get_clock(pipeline_.get()));
        const auto base = gst_element_get_base_time(pipeline_.get());
        if (!clock || !GST_CLOCK_TIME_IS_VALID(base)) return std::nullopt;
        const auto now = gst_clock_get_time(clock.get());
        const auto utc = std::chrono::system_clock::now();
        if (!GST_CLOCK_TIME_IS_VALID(now)) return std::nullopt;
        const std::chrono::nanoseconds age(static_cast<std::int64_t>(now - base) - running_time_ns);
        return std::chrono::time_point_cast<std::chrono::microseconds>(utc - age);
    }

    void close() noexcept {
        if (pipeline_) gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
    }

    std::string name_;
    gst::ElementPtr pipeline_;
    gst::ElementPtr sink_;
    gst::ElementPtr queue_;
    gst::BusPtr bus_;
    bool live_ = false;
    bool clocked_ = false;  // GStreamer calls it live: the pipeline's clock dates its buffers
    bool paced_ = false;
    bool dated_by_sender_ = false;

    gst::CapsPtr caps_;
    Format format_;
    std::optional<PcmReader> reader_;
    std::optional<LossDetector> loss_;
    std::int64_t next_sample_ = 0;  // index of block_'s first
    AudioBlock block_;              // being filled
    std::deque<SourceItem> ready_;
    std::optional<std::string> failure_;
    std::atomic<bool> stopping_ = false;
};

}  // namespace

void check_launch(const std::string& launch) {
    initialise_gstreamer();
    parse_pipeline(launch);
}

std::unique_ptr<AudioSource> open_gstreamer_source(const GStreamerOptions& options) {
    initialise_gstreamer();
    return std::make_unique<GStreamerSource>(options);
}

}  // namespace chorus
