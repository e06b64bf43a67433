#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace chorus {

/// Mono streaming sample rate conversion: the filters of polyphase.h, or libsoxr with the same edges where the rates
/// have no common measure to speak of (47,999 and 16,000 Hz). Output sample 0 is input sample 0: the filter's delay is
/// already taken out. The output doesn't depend on how the input was cut into blocks. Equal rates pass through
/// untouched. One thread at a time.
class Resampler {
  public:
    /// Rates from 8,000 to 384,000 Hz, else std::invalid_argument.
    Resampler(int from_hz, int to_hz);
    ~Resampler();
    Resampler(Resampler&&) noexcept;
    Resampler& operator=(Resampler&&) noexcept;

    /// Appends what has come out to `out`.
    void push(std::span<const float> in, std::vector<float>& out);
    /// Appends the filter's tail; push() may not follow. In all, round(n * to / from) samples come out for n in.
    void finish(std::vector<float>& out);

    class Converter;  // how it is done

  private:
    std::unique_ptr<Converter> converter_;
};

/// A whole recording at once.
std::vector<float> resample(std::span<const float> in, int from_hz, int to_hz);

}  // namespace chorus
