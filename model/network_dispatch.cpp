#include <vector>

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
#endif

std::span<const Kernels* const> usable_kernels() {
    static const auto usable = [] {
        std::vector<const Kernels*> found;
#ifdef CHORUS_X86
        if (machine_runs_avx2()) found.push_back(&avx2::kernels);
#endif
        found.push_back(&portable::kernels);
        return found;
    }();
    return usable;
}

const Kernels& kernels_of_this_machine() {
    return *usable_kernels().front();
}

}  // namespace chorus
