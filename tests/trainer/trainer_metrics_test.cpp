#include "trainer/trainer_metrics.h"

#include <gmock/gmock.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "tests/temporary_folder.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(TrainerMetrics, TellWhatTheLastRunCameTo) {
    const auto text = metrics_text({.outcome = RunOutcome::kRefused,
                                    .seconds = 12.5,
                                    .ended = 1'700'000'000,
                                    .new_labels = 40,
                                    .current_macro_f1 = 0.75,
                                    .candidate_macro_f1 = 0.5});
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_outcome{outcome=\"refused\"} 1\n"));
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_outcome{outcome=\"promoted\"} 0\n"));
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_timestamp_seconds 1700000000\n"));
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_duration_seconds 12.500\n"));
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_new_labels 40\n"));
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_macro_f1{model=\"current\"} 0.750000\n"));
    EXPECT_THAT(text, HasSubstr("chorus_trainer_last_run_macro_f1{model=\"candidate\"} 0.500000\n"));
}

TEST(TrainerMetrics, SayNothingOfFiguresThatAreNotThere) {
    const auto text = metrics_text({.outcome = RunOutcome::kNothingNew});
    EXPECT_THAT(text, Not(HasSubstr("macro_f1")));
    EXPECT_THAT(text, HasSubstr("outcome=\"nothing_new\"} 1\n"));
}

TEST(TrainerMetrics, CanBeReadByTheirCollector) {
    const TemporaryFolder folder;
    const auto mask = umask(0077);
    write_metrics(folder / "chorus.prom", {});
    umask(mask);
    struct stat status {};
    ASSERT_EQ(stat((folder / "chorus.prom").c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0644U);
    std::ifstream file(folder / "chorus.prom");
    EXPECT_EQ(std::string(std::istreambuf_iterator<char>(file), {}), metrics_text({}));
    EXPECT_THROW(write_metrics(folder / "none/chorus.prom", {}), std::runtime_error);
}

}  // namespace
}  // namespace chorus
