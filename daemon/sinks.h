#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "daemon/event.h"
#include "daemon/window.h"

namespace chorus {

class SoundMemory;

/// Who is told of detections. Called by the analysis thread; must not wait.
class DetectionSink {
  public:
    virtual ~DetectionSink() = default;
    virtual void on_event(Event event) = 0;
    /// What a candidate would have sent. Called by the shadow's thread.
    virtual void on_shadow_event(Event event) { (void)event; }
    /// Every scored window; scores: [class].
    virtual void on_scores(const std::string& source, const Window& window, std::span<const float> scores) {
        (void)source;
        (void)window;
        (void)scores;
    }
    /// Where the sound of a source (Window::source) is to be kept for a while, if anywhere; asked once, as it begins.
    virtual std::shared_ptr<SoundMemory> sound_memory(std::size_t source) {
        (void)source;
        return nullptr;
    }
    /// The source is gone, and all of its windows have been told of. Any thread.
    virtual void forget(std::size_t source) { (void)source; }
    /// The state of a source has changed. Any thread.
    virtual void status_soon() {}
};

}  // namespace chorus
