#include <vector>

#include "model/sound_kernels.h"

namespace chorus {

namespace portable {
extern const SoundKernels sound_kernels;
}
#ifdef CHORUS_X86
namespace avx2 {
extern const SoundKernels sound_kernels;
}
#endif

std::span<const SoundKernels* const> usable_sound_kernels() {
    static const auto usable = [] {
        std::vector<const SoundKernels*> found;
#ifdef CHORUS_X86
        if (__builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0) {
            found.push_back(&avx2::sound_kernels);
        }
#endif
        found.push_back(&portable::sound_kernels);
        return found;
    }();
    return usable;
}

const SoundKernels& sound_kernels_of_this_machine() {
    static const SoundKernels& fastest = *usable_sound_kernels().front();
    return fastest;
}

}  // namespace chorus
