// What people label recordings with: Raven tables, Audacity tracks, ESC-50's table, the plain CSV; and what is cut from
// it.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <stdexcept>
#include <string_view>
#include <vector>

#include "trainer/annotation_files.h"
#include "trainer/windows.h"

namespace {

using namespace chorus;

constexpr double kSeconds = 60.0;

void require(bool holds) {
    if (!holds) std::abort();
}

void check(const AnnotationText& text) {
    std::vector<Call> calls;
    int line = 0;
    for (const auto& annotation : text.annotations) {
        require(annotation.line > line);
        line = annotation.line;
        const double end = annotation.end_seconds.value_or(kSeconds);
        require(annotation.start_seconds >= 0.0 && annotation.start_seconds <= kMaxAnnotationSeconds);
        require(!annotation.end_seconds || end > annotation.start_seconds);
        require(!annotation.channel || *annotation.channel >= 0);
        for (const auto& label : annotation.labels) require(!label.empty());
        if (annotation.start_seconds < kSeconds && calls.size() < 100)
            calls.push_back({.start_seconds = annotation.start_seconds,
                             .end_seconds = std::min(end, kSeconds),
                             .class_index = annotation.labels.size() % 3});
    }
    for (const auto& window : cut_windows(kSeconds, calls, 3, {})) {
        const bool holds_any = std::any_of(window.targets.begin(), window.targets.end(), [](auto t) { return t != 0; });
        require(window.start_seconds >= 0.0 && window.start_seconds + 3.0 <= kSeconds + kLengthToleranceSeconds);
        require(window.is_labelled || !holds_any);
    }
}

template <typename Parse>
void run(const Parse& parse) {
    try {
        check(parse());
    } catch (const std::runtime_error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    is_raven_table(text);
    run([&] { return parse_raven_table(text); });
    run([&] { return parse_label_track(text); });
    run([&] { return parse_esc50(text, 5); });
    run([&] { return parse_label_csv(text); });
    return 0;
}
