#include <benchmark/benchmark.h>

#include <algorithm>
#include <random>

#include "daemon/event.h"
#include "daemon/journal.h"
#include "daemon/time_format.h"
#include "model/detector.h"
#include "streaming/publisher.h"
#include "tests/temporary_folder.h"

namespace chorus {
namespace {

/// A window of 42 classes, some of which come and go.
void detect_in_a_window(benchmark::State& state) {
    constexpr std::size_t kClasses = 42;
    DetectorSettings settings;
    settings.thresholds.assign(kClasses, 0.6F);
    settings.min_windows.assign(kClasses, 1);
    Detector detector(settings);
    std::mt19937 random(1);
    std::uniform_real_distribution<float> score(0, 1);
    std::vector<std::vector<float>> windows(64, std::vector<float>(kClasses));
    for (auto& scores : windows) std::ranges::generate(scores, [&] { return score(random); });
    std::vector<Detection> found;
    std::int64_t start = 0;
    for (auto _ : state) {
        detector.add(start, start + 144'000, windows[static_cast<std::size_t>(start / 48'000) % windows.size()], found);
        benchmark::DoNotOptimize(found.data());
        found.clear();
        start += 48'000;
    }
}
BENCHMARK(detect_in_a_window)->Unit(benchmark::kMicrosecond);

Event an_event() {
    Event event;
    event.station = "pond-7";
    event.source = "hydrophone-array";
    event.code = "BOAALB";
    event.label = "Boana albopunctata";
    event.start = utc_now();
    event.end = event.start;
    event.sample_rate_hz = 48'000;
    event.model = "0123456789abcdef";
    return event;
}

void write_an_event_as_json(benchmark::State& state) {
    const auto event = an_event();
    for (auto _ : state) benchmark::DoNotOptimize(to_json(event));
}
BENCHMARK(write_an_event_as_json)->Unit(benchmark::kMicrosecond);

/// So many events that share a flush to the disk (of the folder for temporary files).
void journal_events(benchmark::State& state) {
    const TemporaryFolder folder;
    Journal journal({.path = folder / "journal.db"});
    const auto body = to_json(an_event());
    std::vector<JournalEntry> entries(static_cast<std::size_t>(state.range(0)));
    for (auto _ : state) {
        for (std::size_t i = 0; i < entries.size(); ++i) {
            entries[i] = {journal.last_seq() + 1 + static_cast<std::int64_t>(i), "event.pond-7.array.0.BOAALB", body};
        }
        journal.append(entries, utc_now(), true);
    }
    state.SetItemsProcessed(state.iterations() * state.range(0));
}
BENCHMARK(journal_events)->Arg(1)->Arg(16)->Arg(256)->Unit(benchmark::kMillisecond)->UseRealTime();

/// One message to one subscriber, until it has it.
void publish_an_event(benchmark::State& state) {
    Publisher publisher("tcp://127.0.0.1:*");
    Subscriber subscriber(publisher.endpoint(), "event.");
    const Message message{.topic = "event.pond-7.array.0.BOAALB", .body = to_json(an_event())};
    Message received;
    using namespace std::chrono_literals;
    while (!subscriber.receive(received, 10ms)) publisher.send(message);  // it has connected
    while (subscriber.receive(received, 10ms)) {
    }
    for (auto _ : state) {
        publisher.send(message);
        if (!subscriber.receive(received, 1s)) state.SkipWithError("a message was lost");
    }
}
BENCHMARK(publish_an_event)->Unit(benchmark::kMicrosecond)->UseRealTime();

}  // namespace
}  // namespace chorus
