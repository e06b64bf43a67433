#pragma once
// The filters by which sample rates are changed. Internal to model/.

#include <memory>

#include "model/aligned_floats.h"
#include "model/sound_kernels.h"

namespace chorus {

/// The windowed sinc (Kaiser, stop band 120 dB) that takes one rate to another, at each place that an output sample
/// can have between two input samples. With the lower rate's Nyquist frequency as 1, sound passes up to 0.8, is halved
/// at 1 and is gone from 1.2 on: the edges of the Hann windowed sinc that torchaudio resamples with by default. The
/// steeper the filter, the longer a window's last samples wait inside it. Const, for any number of threads.
class Polyphase {
  public:
    /// One for all that need it at a time; null where the ratio would take more than a megabyte of filters.
    static std::shared_ptr<const Polyphase> of(int from_hz, int to_hz);

    Polyphase(int from_hz, int to_hz);

    /// An output at input position p (a real number) sees the inputs from floor(p) - reach + 1 to floor(p) + reach.
    int reach() const { return filter_.taps / 2; }
    const PolyphaseFilter& filter() const { return filter_; }

  private:
    PolyphaseFilter filter_;
    AlignedFloats weights_;
};

}  // namespace chorus
