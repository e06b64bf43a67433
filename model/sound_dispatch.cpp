#include <vector>

#include "model/instruction_sets.h"
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
        if (machine_runs_avx2()) found.push_back(&avx2::sound_kernels);
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
