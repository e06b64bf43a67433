#include "daemon/source_status.h"

#include <utility>

namespace chorus {

std::string to_string(SourceState state) {
    switch (state) {
        case SourceState::kStarting:
            return "starting";
        case SourceState::kUp:
            return "up";
        case SourceState::kDegraded:
            return "degraded";
        case SourceState::kDown:
            return "down";
        case SourceState::kOff:
            return "off";
        case SourceState::kEnded:
            return "ended";
        case SourceState::kFailed:
            return "failed";
    }
    return "unknown";
}

bool gives_sound(SourceState state) {
    return state == SourceState::kUp || state == SourceState::kDegraded;
}

void SourceStatus::sound(MonotonicTime now) {
    if (!sound_since_) sound_since_ = now;
}

void SourceStatus::lost(MonotonicTime now, std::string what) {
    last_trouble_ = now;
    trouble_ = std::move(what);
}

void SourceStatus::failed(MonotonicTime now, std::string error) {
    if (sound_since_) lost(now, error);  // a source that never gave sound has lost none
    if (sound_since_ || !failed_at_) failed_at_ = now;
    error_ = std::move(error);
    sound_since_.reset();
}

void SourceStatus::set(SourceState state, std::string reason) {
    sound_since_.reset();
    failed_at_.reset();
    say(state, reason);
}

bool SourceStatus::update(MonotonicTime now) {
    if (sound_since_) {
        const bool steady = state_ != SourceState::kDown || now - *sound_since_ >= kSteady;
        const bool troubled = last_trouble_ && now - *last_trouble_ < kLately;
        if (steady) {
            failed_at_.reset();
            if (!channel_faults_.empty()) {
                say(SourceState::kDegraded, channel_faults_);
            } else if (troubled) {
                say(SourceState::kDegraded, trouble_);
            } else {
                say(SourceState::kUp, "");
            }
        }
    } else if (failed_at_) {
        const bool grace = state_ == SourceState::kDegraded && now - *failed_at_ < kGrace;
        if (!grace) say(SourceState::kDown, error_);
    }
    return std::exchange(told_, state_) != state_;
}

void SourceStatus::say(SourceState state, const std::string& reason) {
    state_ = state;
    reason_ = reason;
}

}  // namespace chorus
