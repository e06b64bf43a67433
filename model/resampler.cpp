#include "model/resampler.h"

#include <soxr.h>

#include <algorithm>
#include <stdexcept>
#include <string>

#include "model/polyphase.h"

namespace chorus {
namespace {

constexpr int kLowestRate = 8000;
constexpr int kHighestRate = 384000;

void check_rate(int rate_hz) {
    if (rate_hz < kLowestRate || rate_hz > kHighestRate) {
        throw std::invalid_argument("sample rate " + std::to_string(rate_hz) + " Hz is not in 8000..384000 Hz");
    }
}

std::size_t size(std::int64_t count) {
    return static_cast<std::size_t>(count);
}

}  // namespace

class Resampler::Converter {
  public:
    Converter(int from_hz, int to_hz) : from_hz_(from_hz), to_hz_(to_hz) {}
    virtual ~Converter() = default;

    void push(std::span<const float> in, std::vector<float>& out) {
        if (finished_) throw std::logic_error("Resampler::push after finish");
        samples_in_ += static_cast<std::int64_t>(in.size());
        convert(in, out);
    }

    void finish(std::vector<float>& out) {
        if (finished_) return;
        finished_ = true;
        convert_tail((2 * samples_in_ * to_hz_ + from_hz_) / (2 * from_hz_), out);
    }

  protected:
    std::int64_t from_hz() const { return from_hz_; }
    std::int64_t to_hz() const { return to_hz_; }

  private:
    virtual void convert(std::span<const float> in, std::vector<float>& out) = 0;
    /// total: the samples that come out in all.
    virtual void convert_tail(std::int64_t total, std::vector<float>& out) = 0;

    std::int64_t from_hz_;
    std::int64_t to_hz_;
    std::int64_t samples_in_ = 0;
    bool finished_ = false;
};

namespace {

class SameRate final : public Resampler::Converter {
  public:
    using Converter::Converter;

  private:
    void convert(std::span<const float> in, std::vector<float>& out) override {
        out.insert(out.end(), in.begin(), in.end());
    }
    void convert_tail(std::int64_t, std::vector<float>&) override {}
};

class ByFilters final : public Resampler::Converter {
  public:
    ByFilters(int from_hz, int to_hz, std::shared_ptr<const Polyphase> filters)
        : Converter(from_hz, to_hz), filters_(std::move(filters)), kept_(size(filters_->reach() - 1), 0.0F) {}

  private:
    static constexpr std::size_t kInputChunk = 16384;

    void convert(std::span<const float> in, std::vector<float>& out) override {
        while (!in.empty()) {
            const auto chunk = in.first(std::min(in.size(), kInputChunk));
            in = in.subspan(chunk.size());
            kept_.insert(kept_.end(), chunk.begin(), chunk.end());
            samples_seen_ += std::ssize(chunk);
            // All outputs whose filters end within the input so far: floor(position) + reach < samples_seen_.
            const auto positions = samples_seen_ - filters_->reach();
            if (positions > 0) convert_up_to((positions * to_hz() + from_hz() - 1) / from_hz(), out);
        }
    }

    void convert_tail(std::int64_t total, std::vector<float>& out) override {
        kept_.insert(kept_.end(), size(filters_->reach() + 1), 0.0F);
        convert_up_to(total, out);
    }

    void convert_up_to(std::int64_t end, std::vector<float>& out) {
        const auto count = end - samples_out_;
        if (count <= 0) return;
        const auto& filter = filters_->filter();
        // In steps of one input sample over the number of phases.
        const std::int64_t step = std::int64_t{filter.advance} * filter.phases + filter.phase_advance;
        const auto first = samples_out_ * step;
        const auto before = out.size();
        out.resize(before + size(count));
        kernels_.resample(filter, kept_.data() + (first / filter.phases - forgotten_),
                          static_cast<int>(first % filter.phases), static_cast<int>(count), out.data() + before);
        samples_out_ = end;
        const auto needless = samples_out_ * step / filter.phases - forgotten_;
        kept_.erase(kept_.begin(), kept_.begin() + static_cast<std::ptrdiff_t>(needless));
        forgotten_ += needless;
    }

    const SoundKernels& kernels_ = sound_kernels_of_this_machine();
    std::shared_ptr<const Polyphase> filters_;
    std::vector<float> kept_;  // input that outputs to come will see; before the first sample as much silence
    std::int64_t forgotten_ = 0;
    std::int64_t samples_seen_ = 0;
    std::int64_t samples_out_ = 0;
};

struct SoxrDelete {
    void operator()(soxr_t handle) const { soxr_delete(handle); }
};
using SoxrHandle = std::unique_ptr<soxr, SoxrDelete>;

SoxrHandle make_soxr(int from_hz, int to_hz) {
    auto quality = soxr_quality_spec(SOXR_HQ, 0);
    quality.passband_end = 0.8;  // as the filters'
    quality.stopband_begin = 1.2;
    auto runtime = soxr_runtime_spec(1);
    runtime.log2_min_dft_size = 8;  // small transforms, so that a window's last samples don't wait for more
    runtime.log2_large_dft_size = 8;
    const auto format = soxr_io_spec(SOXR_FLOAT32_I, SOXR_FLOAT32_I);
    soxr_error_t error = nullptr;
    SoxrHandle handle(soxr_create(from_hz, to_hz, 1, &error, &format, &quality, &runtime));
    if (error != nullptr || !handle) {
        throw std::runtime_error("resampling " + std::to_string(from_hz) + " Hz to " + std::to_string(to_hz) +
                                 " Hz: " + (error != nullptr ? error : "no memory"));
    }
    return handle;
}

class BySoxr final : public Resampler::Converter {
  public:
    BySoxr(int from_hz, int to_hz)
        : Converter(from_hz, to_hz),
          handle_(make_soxr(from_hz, to_hz)),
          scratch_(kInputChunk * size(std::max(1, to_hz / from_hz + 1))) {}

  private:
    static constexpr std::size_t kInputChunk = 4096;

    void convert(std::span<const float> in, std::vector<float>& out) override {
        while (true) {
            std::size_t used = 0;
            const auto produced = process(in.data(), std::min(in.size(), kInputChunk), used);
            take(produced, out);
            in = in.subspan(used);
            if (in.empty() && produced < scratch_.size()) break;
        }
    }

    // Rounding inside the library may differ from ours by one sample at the very end.
    void convert_tail(std::int64_t total, std::vector<float>& out) override {
        std::size_t used = 0;
        while (const auto produced = process(nullptr, 0, used)) {
            take(std::min(produced, size(std::max<std::int64_t>(total - samples_out_, 0))), out);
        }
        out.insert(out.end(), size(std::max<std::int64_t>(total - samples_out_, 0)), 0.0F);
    }

    /// Null `in` asks for the tail. Returns how many samples are in scratch_.
    std::size_t process(const float* in, std::size_t length, std::size_t& used) {
        std::size_t produced = 0;
        if (const auto* error =
                soxr_process(handle_.get(), in, length, &used, scratch_.data(), scratch_.size(), &produced)) {
            throw std::runtime_error(std::string("resampling: ") + error);
        }
        return produced;
    }

    void take(std::size_t count, std::vector<float>& out) {
        out.insert(out.end(), scratch_.begin(), scratch_.begin() + static_cast<std::ptrdiff_t>(count));
        samples_out_ += static_cast<std::int64_t>(count);
    }

    SoxrHandle handle_;
    std::vector<float> scratch_;
    std::int64_t samples_out_ = 0;
};

}  // namespace

Resampler::Resampler(int from_hz, int to_hz) {
    check_rate(from_hz);
    check_rate(to_hz);
    if (from_hz == to_hz) {
        converter_ = std::make_unique<SameRate>(from_hz, to_hz);
    } else if (auto filters = Polyphase::of(from_hz, to_hz)) {
        converter_ = std::make_unique<ByFilters>(from_hz, to_hz, std::move(filters));
    } else {
        converter_ = std::make_unique<BySoxr>(from_hz, to_hz);
    }
}

Resampler::~Resampler() = default;
Resampler::Resampler(Resampler&&) noexcept = default;
Resampler& Resampler::operator=(Resampler&&) noexcept = default;

void Resampler::push(std::span<const float> in, std::vector<float>& out) {
    converter_->push(in, out);
}

void Resampler::finish(std::vector<float>& out) {
    converter_->finish(out);
}

std::vector<float> resample(std::span<const float> in, int from_hz, int to_hz) {
    std::vector<float> out;
    Resampler resampler(from_hz, to_hz);
    out.reserve(in.size() * static_cast<std::size_t>(to_hz) / static_cast<std::size_t>(from_hz) + 1);
    resampler.push(in, out);
    resampler.finish(out);
    return out;
}

}  // namespace chorus
