#include <algorithm>
#include <bit>
#include <stdexcept>
#include <vector>

#include "model/classifier.h"
#include "model/instruction_sets.h"
#include "model/network_kernels.h"

namespace chorus {

namespace portable {
extern const Kernels kernels;
}
#ifdef CHORUS_X86
namespace avx2 {
extern const Kernels kernels;
}
namespace avx512 {
extern const Kernels kernels;
}
namespace avx512bf16 {
extern const Kernels kernels;
}
#endif

std::span<const Kernels* const> usable_kernels() {
    static const auto usable = [] {
        std::vector<const Kernels*> found;
#ifdef CHORUS_X86
        if (machine_runs_avx512bf16()) found.push_back(&avx512bf16::kernels);
        if (machine_runs_avx512()) found.push_back(&avx512::kernels);
        if (machine_runs_avx2()) found.push_back(&avx2::kernels);
#endif
        found.push_back(&portable::kernels);
        return found;
    }();
    return usable;
}

namespace {

const Kernels* fastest(Precision precision) {
    const auto usable = usable_kernels();
    const auto found = std::ranges::find(usable, precision, &Kernels::precision);
    return found != usable.end() ? *found : nullptr;
}

}  // namespace

const Kernels& kernels_of_this_machine(Precision precision) {
    const auto* const kernels = fastest(precision);
    if (precision == Precision::kFloat16) throw std::runtime_error("float16 is for a GPU, and the CPU scores");
    if (kernels == nullptr) throw std::runtime_error("this processor has no instructions for bfloat16 (AVX512_BF16)");
    return *kernels;
}

bool has_precision(Precision precision) {
    return fastest(precision) != nullptr;
}

std::uint16_t to_bfloat16(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    return static_cast<std::uint16_t>((bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16);
}

}  // namespace chorus
