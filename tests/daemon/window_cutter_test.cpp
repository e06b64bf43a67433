#include "daemon/window_cutter.h"

#include <gtest/gtest.h>

#include <random>

#include "tests/daemon/fakes.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr int kRate = 16'000;

FrontEndParameters front_end(double window_seconds, int sample_rate_hz = kRate, int mels = 32) {
    auto parameters = coarse_front_end();
    parameters.window_seconds = window_seconds;
    parameters.sample_rate_hz = sample_rate_hz;
    parameters.f_max_hz = sample_rate_hz / 2.0;
    parameters.mels = mels;
    return parameters;
}

// Any sequence of models, block sizes and hops, at any moment.
TEST(WindowCutter, LeavesNoSampleOutAndBooksEachOnceWhateverModelsFollowOneAnother) {
    const std::vector<FrontEndParameters> front_ends = {front_end(1.0),        front_end(1.0),
                                                        front_end(2.0),        front_end(0.5),
                                                        front_end(1.0, 8'000), front_end(1.5, kRate, 16)};
    ToneClassifier classifier;
    for (unsigned seed = 1; seed <= 16; ++seed) {
        SCOPED_TRACE(seed);
        std::mt19937 random(seed);
        std::vector<std::shared_ptr<const Model>> models;
        for (int i = 0; i < 8; ++i) {
            auto bundle = tone_bundle();
            bundle.id = std::to_string(i);
            bundle.front_end = front_ends[random() % front_ends.size()];
            models.push_back(model_of(std::move(bundle), classifier));
        }
        LaneQueue<Window> queue(1, 1);
        Ledger ledger;
        const int rate = random() % 2 == 0 ? 22'050 : 16'000;
        WindowCutter cutter(models[0], {.source = 0,
                                        .queue = queue,
                                        .queue_windows = 100'000,
                                        .hop_seconds = 0.25,
                                        .ledger = ledger,
                                        .stamp = [](Window&) {},
                                        .stopping = [] { return false; }});
        cutter.begin_stretch(2, rate, 0, true);
        std::int64_t heard = 0;
        for (std::size_t next = 1; heard < 20 * rate;) {
            const std::vector<float> block(1 + random() % (seed % 3 == 0 ? 3 * rate : rate / 5), 0.1F);
            heard += std::ssize(block);
            for (int channel = 0; channel < 2; ++channel) {
                ledger.heard(channel, std::ssize(block), 0, 0);
                cutter.cut(channel, block);
            }
            cutter.push_all();
            if (random() % 8 == 0) cutter.widen_hop(1 << random() % 3);
            if (random() % 12 == 0 && next < models.size()) cutter.adopt(models[next++]);
            for (const auto& channel : ledger.report()) EXPECT_TRUE(channel.samples.balanced());
        }
        cutter.end_stretch(DropReason::kShort);

        std::int64_t covered[2] = {0, 0};
        std::vector<std::string> order[2];
        for (const auto& window : queue.pop_batch(100'000, 0us, 0ms)) {
            if (window.ends_stretch()) continue;
            const auto channel = static_cast<std::size_t>(window.channel);
            EXPECT_LE(window.start_sample, covered[channel]);
            EXPECT_EQ(window.booked_samples, std::max<std::int64_t>(window.end_sample - covered[channel], 0));
            EXPECT_EQ(window.features.size(), window.model->bundle().front_end.feature_size());
            covered[channel] = std::max(covered[channel], window.end_sample);
            ledger.analysed(window.channel, window.booked_samples);
            auto& said = order[channel];
            if (said.empty() || said.back() != window.model->id()) said.push_back(window.model->id());
        }
        EXPECT_TRUE(std::is_sorted(order[0].begin(), order[0].end())) << "no way back to an older one";
        EXPECT_EQ(order[0], order[1]);
        for (const auto& channel : ledger.report()) {
            EXPECT_EQ(channel.samples.in, heard);
            EXPECT_EQ(channel.samples.analysed, heard);
            EXPECT_EQ(channel.samples.pending, 0);
        }
        EXPECT_EQ(covered[0], heard);
    }
}

}  // namespace
}  // namespace chorus
