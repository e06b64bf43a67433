#include "model/device_classifier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <utility>

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kWindowSize = 4;

// One class, and a window's score is its first value.
void score_by_first_value(std::span<const std::span<const float>> windows, std::span<float> scores) {
    for (std::size_t i = 0; i < windows.size(); ++i) scores[i] = windows[i][0];
}

class FakeCpu : public Classifier {
  public:
    explicit FakeCpu(std::size_t& scored) : scored_(scored) {}
    void score(std::span<const std::span<const float>> windows, std::span<float> scores) override {
        score_by_first_value(windows, scores);
        scored_ += windows.size();
    }
    std::size_t classes() const override { return 1; }
    std::string description() const override { return "the CPU"; }

  private:
    std::size_t& scored_;
};

struct DeviceState {
    std::size_t room = 64;           // windows
    std::optional<int> lost_after;   // calls
    float off = 0;                   // added to each score
    std::vector<std::size_t> sizes;  // of the calls so far
    bool given_back = false;
};

class FakeDevice : public DeviceNetwork {
  public:
    explicit FakeDevice(DeviceState& state) : state_(state) {}
    ~FakeDevice() override { state_.given_back = true; }
    void score(std::span<const std::span<const float>> windows, std::size_t size, std::span<float> scores) override {
        state_.sizes.push_back(size);
        if (size < windows.size()) throw std::logic_error("more windows than the batch has room for");
        if (state_.lost_after && --*state_.lost_after < 0) throw std::runtime_error("it fell off the bus");
        if (size > state_.room) throw OutOfDeviceMemory("tried to allocate too much");
        score_by_first_value(windows, scores);
        for (auto& score : scores) score += state_.off;
    }
    std::string description() const override { return "fake device"; }

  private:
    DeviceState& state_;
};

class DeviceClassifierTest : public testing::Test {
  protected:
    void make(std::size_t max_batch) {
        classifier_ = std::make_unique<DeviceClassifier>(
            std::make_unique<FakeDevice>(device_), std::make_unique<FakeCpu>(on_cpu_),
            DeviceClassifier::Options{.window_size = kWindowSize,
                                      .max_batch = max_batch,
                                      .on_fault = [this](const std::string& line) { faults_.push_back(line); }});
    }
    /// Makes one and forgets its warm-up.
    void make_warm(std::size_t max_batch) {
        make(max_batch);
        device_.sizes.clear();
        on_cpu_ = 0;
    }
    /// Scores so many windows, each of its own score, and wants all of them right.
    void score(std::size_t count) {
        std::vector<std::vector<float>> values;
        for (std::size_t i = 0; i < count; ++i) values.emplace_back(kWindowSize, 0.001F * static_cast<float>(i + 1));
        const std::vector<std::span<const float>> windows(values.begin(), values.end());
        std::vector<float> scores(count);
        classifier_->score(windows, scores);
        for (std::size_t i = 0; i < count; ++i) EXPECT_EQ(scores[i], values[i][0]) << i;
    }

    DeviceState device_;
    std::size_t on_cpu_ = 0;
    std::vector<std::string> faults_;
    std::unique_ptr<DeviceClassifier> classifier_;
};

TEST_F(DeviceClassifierTest, RunsEverySizeBeforeTheFirstWindow) {
    make(24);
    EXPECT_THAT(device_.sizes, ElementsAre(24, 16, 8, 4, 2, 1));
    for (std::size_t count = 1; count <= 24; ++count) score(count);
    const auto warm = std::span(device_.sizes).first(6);
    for (const auto size : device_.sizes) EXPECT_NE(std::ranges::find(warm, size), warm.end()) << size;
    EXPECT_THAT(faults_, IsEmpty());
    EXPECT_TRUE(classifier_->gains_from_batches());
    EXPECT_EQ(classifier_->description(), "fake device, at most 24 windows at once");
}

TEST_F(DeviceClassifierTest, FillsABatchUpToTheNextSizeAndSplitsALargerOne) {
    make_warm(16);
    score(5);
    score(16);
    score(39);
    score(0);
    EXPECT_THAT(device_.sizes, ElementsAre(8, 16, 16, 16, 8));
}

TEST_F(DeviceClassifierTest, HalvesTheBatchForWantOfMemoryAndRemembers) {
    make_warm(16);
    device_.room = 5;
    score(14);
    EXPECT_THAT(device_.sizes, ElementsAre(16, 8, 4, 4, 4, 2));
    EXPECT_THAT(faults_, ElementsAre("fake device: out of memory with 16 windows at once, going on with 8: tried to "
                                     "allocate too much",
                                     HasSubstr("with 8 windows at once, going on with 4")));
    device_.sizes.clear();
    score(8);
    EXPECT_THAT(device_.sizes, ElementsAre(4, 4));
    EXPECT_EQ(on_cpu_, 0U);
    EXPECT_EQ(classifier_->description(), "fake device, at most 4 windows at once");
}

TEST_F(DeviceClassifierTest, FindsAtTheStartWhatFits) {
    device_.room = 5;
    make(24);
    EXPECT_THAT(device_.sizes, ElementsAre(24, 16, 8, 4, 2, 1));
    EXPECT_EQ(faults_.size(), 3U);
    EXPECT_EQ(classifier_->description(), "fake device, at most 4 windows at once");
}

TEST_F(DeviceClassifierTest, LeavesTheRestToTheCpuWhenTheDeviceIsLost) {
    make_warm(8);
    device_.lost_after = 2;
    score(30);
    EXPECT_THAT(device_.sizes, ElementsAre(8, 8, 8));
    EXPECT_EQ(on_cpu_, 14U) << "those of the batch that failed among them";
    EXPECT_THAT(faults_, ElementsAre("fake device: lost, the CPU scores from now on: it fell off the bus"));
    score(9);
    EXPECT_EQ(on_cpu_, 23U);
    EXPECT_EQ(device_.sizes.size(), 3U) << "it is not tried again";
    EXPECT_EQ(faults_.size(), 1U);
    EXPECT_EQ(classifier_->description(), "the CPU");
    classifier_.reset();
    EXPECT_FALSE(device_.given_back) << "nothing is asked of it any more";
}

TEST_F(DeviceClassifierTest, LeavesAllToTheCpuWhenNotOneWindowFits) {
    make_warm(4);
    device_.room = 0;
    score(3);
    EXPECT_THAT(device_.sizes, ElementsAre(4, 2, 1));
    EXPECT_EQ(on_cpu_, 3U);
    EXPECT_EQ(faults_.size(), 3U);
}

TEST_F(DeviceClassifierTest, TakesScoresThatAreNoNumbersForALoss) {
    make_warm(4);
    device_.off = std::numeric_limits<float>::quiet_NaN();
    score(3);
    EXPECT_EQ(on_cpu_, 3U);
    EXPECT_THAT(faults_, ElementsAre(HasSubstr("its scores are no numbers")));
}

TEST_F(DeviceClassifierTest, RefusesADeviceThatScoresOtherwiseThanTheCpu) {
    const auto refusal = [&]() -> std::string {
        try {
            make(4);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "accepted";
    };
    device_.off = 0.0005F;
    EXPECT_EQ(refusal(), "accepted");
    device_.off = 0.25F;
    EXPECT_EQ(refusal(), "fake device: its scores are up to 0.2500 off the CPU's, more than 0.001");
    device_.off = std::numeric_limits<float>::infinity();
    EXPECT_EQ(refusal(), "fake device: its scores are no numbers");
    device_.off = 0;
    device_.room = 0;
    EXPECT_EQ(refusal(), "tried to allocate too much");
    EXPECT_TRUE(std::exchange(device_.given_back, false));
    device_.lost_after = 0;
    EXPECT_EQ(refusal(), "it fell off the bus");
    EXPECT_FALSE(device_.given_back);
}

TEST_F(DeviceClassifierTest, TakesNoWrongSizeForALoss) {
    make_warm(4);
    const std::vector<float> values(kWindowSize);
    const std::span<const float> window = values;
    const auto shorter = window.first(kWindowSize - 1);
    std::vector<float> scores(2);
    EXPECT_THROW(classifier_->score({&window, 1}, scores), std::invalid_argument);
    EXPECT_THROW(classifier_->score({&shorter, 1}, std::span(scores).first(1)), std::invalid_argument);
    EXPECT_THAT(device_.sizes, IsEmpty());
    score(2);
    EXPECT_EQ(on_cpu_, 0U);
}

}  // namespace
}  // namespace chorus
