#pragma once
// Sound to log-mel windows. The same code feeds training and serving.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace chorus {

/// What a model expects of its input; stored in its bundle. The defaults are those of Mix2 (arXiv 2403.09598).
/// Mel filters are HTK triangles without normalisation, power spectrogram, periodic Hann, centred frames with reflect
/// padding, 10 log10(max(x, log_floor)), then min-max over the one window.
struct FrontEndParameters {
    int sample_rate_hz = 16000;
    double window_seconds = 3.0;
    int n_fft = 512;
    int hop = 128;  // samples between frames
    int mels = 128;
    double f_min_hz = 0.0;
    double f_max_hz = 8000.0;
    double log_floor = 1e-10;

    int window_samples() const { return static_cast<int>(window_seconds * sample_rate_hz + 0.5); }
    int frames() const { return window_samples() / hop + 1; }
    std::size_t feature_size() const { return static_cast<std::size_t>(mels) * static_cast<std::size_t>(frames()); }
    bool operator==(const FrontEndParameters&) const = default;
};

/// Throws std::invalid_argument naming the parameter that makes no sense or is beyond its bounds.
void validate(const FrontEndParameters& parameters);

/// Log-mel spectrogram of windows at the model's own rate. Const after construction and shared by any number of
/// threads; the tables are made once, in the constructor.
class FrontEnd {
  public:
    /// Throws std::invalid_argument as validate() does.
    explicit FrontEnd(const FrontEndParameters& parameters);
    ~FrontEnd();
    FrontEnd(const FrontEnd&) = delete;
    FrontEnd& operator=(const FrontEnd&) = delete;

    const FrontEndParameters& parameters() const { return parameters_; }

    /// The filterbank as [n_fft / 2 + 1, mels], row-major, in the order torchaudio gives it.
    std::vector<float> filterbank() const;

    /// One clip of window_samples() -> [mels, frames] in dB, row-major, not normalised.
    void log_mel(std::span<const float> clip, std::span<float> features) const;

  private:
    friend class FrameBatch;
    struct Tables;
    FrontEndParameters parameters_;
    std::unique_ptr<const Tables> tables_;
};

/// What 0 and 1 of a normalised window are.
struct WindowScale {
    float lowest_db = 0.0F;
    float highest_db = 0.0F;
    bool operator==(const WindowScale&) const = default;
};

/// log_mel(), then min-max over this one window: what a network is fed. A window's input never depends on its
/// neighbours; a constant window becomes all zero.
WindowScale features_of_clip(const FrontEnd& front_end, std::span<const float> clip, std::span<float> features);

/// The log-mel windows of one unbroken stretch of one channel. Used by one thread at a time.
/// Sound comes in blocks of any size at the source's rate; positions are samples at the model's rate, from 0 at the
/// first sample pushed. Frames that overlapping windows share are computed once, and a window equals
/// features_of_clip() of the same resampled samples bit for bit, for any block sizes.
class FeatureStream {
  public:
    /// source_rate_hz: 8,000 to 384,000, else std::invalid_argument. window_hop: samples at the model's rate between
    /// window starts; it only sizes the store of shared frames.
    FeatureStream(const FrontEnd& front_end, int source_rate_hz, std::int64_t window_hop);
    ~FeatureStream();
    FeatureStream(FeatureStream&&) noexcept;

    void push(std::span<const float> samples);
    /// No more sound: the resampler's tail comes out. push() may not follow.
    void finish();

    /// Samples at the model's rate that exist by now.
    std::int64_t available() const;

    /// The normalised features [mels, frames] of the window at `start`, which must be complete (start +
    /// window_samples() <= available()) and not before an earlier call's start. Sound before `start` is forgotten.
    void window(std::int64_t start, std::span<float> features);

    /// Frames that went through the transform so far: those of two windows that begin at the same sample once.
    std::int64_t frames_computed() const;

  private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace chorus
