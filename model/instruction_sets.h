#pragma once
// What this machine can run of the loops that are compiled once for each instruction set. Internal to model/.

namespace chorus {

#ifdef CHORUS_X86
inline bool machine_runs_avx2() {
    return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

inline bool machine_runs_avx512() {
    return machine_runs_avx2() && __builtin_cpu_supports("avx512f") != 0;
}

inline bool machine_runs_avx512bf16() {
    return machine_runs_avx512() && __builtin_cpu_supports("avx512bw") != 0 &&
           __builtin_cpu_supports("avx512bf16") != 0;
}
#endif

}  // namespace chorus
