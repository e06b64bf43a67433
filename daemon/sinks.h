#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "daemon/event.h"
#include "daemon/window.h"

namespace chorus {

/// Who is told of detections. Called by the analysis thread; must not wait.
class DetectionSink {
  public:
    virtual ~DetectionSink() = default;
    virtual void on_event(Event event) = 0;
    /// Every scored window; scores: [class].
    virtual void on_scores(const std::string& source, const Window& window, std::span<const float> scores) {
        (void)source;
        (void)window;
        (void)scores;
    }
};

}  // namespace chorus
