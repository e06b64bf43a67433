#include "streaming/sample_clock.h"

#include <sys/timex.h>

namespace chorus {

bool system_clock_is_synced() {
    timex state{};
    const int answer = adjtimex(&state);
    return answer != -1 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace chorus
