#include "trainer/progress.h"

#include <gmock/gmock.h>

#include <sstream>

namespace chorus {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::EndsWith;
using testing::HasSubstr;

class ProgressLine : public testing::Test {
  protected:
    Progress make(Progress::Style style) {
        return Progress(out_, style, [this] { return now_; });
    }

    std::string take() {
        auto text = out_.str();
        out_.str({});
        return text;
    }

    std::ostringstream out_;
    Progress::Clock::time_point now_{};
};

TEST_F(ProgressLine, DrawsABarWithRateAndTimeLeftOnATerminal) {
    auto progress = make(Progress::Style::kTerminal);
    progress.begin("training", 200, "clips");
    now_ += seconds(10);
    progress.update(50, "loss 0.1");
    EXPECT_EQ(take(), "\rtraining [######..................] 50/200 clips, 5.0/s, 0:30 left, loss 0.1\x1b[K");
}

TEST_F(ProgressLine, RedrawsATerminalAtMostTenTimesASecond) {
    auto progress = make(Progress::Style::kTerminal);
    progress.begin("features", 1000, "clips");
    int drawn = 0;
    for (std::uint64_t i = 1; i <= 1000; ++i) {
        now_ += milliseconds(1);
        progress.update(i);
        drawn += take().empty() ? 0 : 1;
    }
    EXPECT_EQ(drawn, 10);
}

TEST_F(ProgressLine, WritesPlainLinesNowAndThenElsewhere) {
    auto progress = make(Progress::Style::kPlain);
    progress.begin("training", 7200, "clips");
    now_ += seconds(9);
    progress.update(9);
    EXPECT_EQ(take(), "");
    now_ += seconds(1);
    progress.update(10);
    EXPECT_EQ(take(), "training 10/7200 clips, 1.0/s, 1:59:50 left\n");
}

TEST_F(ProgressLine, EndsWithWhatItCameTo) {
    for (const auto style : {Progress::Style::kTerminal, Progress::Style::kPlain}) {
        auto progress = make(style);
        progress.begin("training", 100, "clips");
        now_ += seconds(65);
        progress.update(100);
        take();
        progress.finish("best epoch 3");
        const auto line = take();
        EXPECT_THAT(line, HasSubstr("100/100 clips, 1.5/s, took 1:05, best epoch 3"));
        EXPECT_THAT(line, EndsWith("\n"));
    }
}

TEST_F(ProgressLine, SurvivesNothingToDo) {
    auto progress = make(Progress::Style::kTerminal);
    progress.begin("features", 0, "clips");
    progress.update(0);
    progress.finish();
    EXPECT_THAT(take(), HasSubstr("0/0 clips"));
}

}  // namespace
}  // namespace chorus
