#pragma once

#include <glib.h>
#include <gst/app/gstappsink.h>
#include <gst/audio/audio.h>
#include <gst/gst.h>

#include <memory>

namespace chorus::gst {

template <auto release>
struct Release {
    template <class T>
    void operator()(T* resource) const noexcept {
        release(resource);
    }
};

using ElementPtr = std::unique_ptr<GstElement, Release<gst_object_unref>>;
using PadPtr = std::unique_ptr<GstPad, Release<gst_object_unref>>;
using BusPtr = std::unique_ptr<GstBus, Release<gst_object_unref>>;
using ClockPtr = std::unique_ptr<GstClock, Release<gst_object_unref>>;
using IteratorPtr = std::unique_ptr<GstIterator, Release<gst_iterator_free>>;
using SamplePtr = std::unique_ptr<GstSample, Release<gst_sample_unref>>;
using MessagePtr = std::unique_ptr<GstMessage, Release<gst_message_unref>>;
using CapsPtr = std::unique_ptr<GstCaps, Release<gst_caps_unref>>;
using ErrorPtr = std::unique_ptr<GError, Release<g_error_free>>;
using StringPtr = std::unique_ptr<gchar, Release<g_free>>;

/// A buffer's bytes, mapped for reading while this lives; empty where they could not be mapped.
class MappedBuffer {
  public:
    explicit MappedBuffer(GstBuffer* buffer) : buffer_(buffer) {
        mapped_ = gst_buffer_map(buffer_, &info_, GST_MAP_READ) != FALSE;
    }
    ~MappedBuffer() {
        if (mapped_) gst_buffer_unmap(buffer_, &info_);
    }
    MappedBuffer(const MappedBuffer&) = delete;
    MappedBuffer& operator=(const MappedBuffer&) = delete;

    const guint8* data() const { return mapped_ ? info_.data : nullptr; }
    gsize size() const { return mapped_ ? info_.size : 0; }

  private:
    GstBuffer* buffer_;
    GstMapInfo info_{};
    bool mapped_ = false;
};

}  // namespace chorus::gst
