#include "trainer/comparison.h"

#include <gmock/gmock.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "trainer/paired_test.h"

namespace chorus {
namespace {

using nlohmann::json;

// Reference values: scipy.stats.t.sf(t, n) * 2.
TEST(PairedTest, HasStudentsProbabilities) {
    EXPECT_NEAR(two_sided_p(0.0, 5), 1.0, 1e-12);
    EXPECT_NEAR(two_sided_p(1.0, 1), 0.5, 1e-12);
    EXPECT_NEAR(two_sided_p(12.706204736432095, 1), 0.05, 1e-10);
    EXPECT_NEAR(two_sided_p(-4.302652729911275, 2), 0.05, 1e-10);
    EXPECT_NEAR(two_sided_p(2.2281388519649385, 10), 0.05, 1e-10);
    EXPECT_NEAR(two_sided_p(3.1692726726169518, 10), 0.01, 1e-10);
    EXPECT_NEAR(two_sided_p(1.9623414611334487, 1000), 0.04999972263628687, 1e-10);
    EXPECT_NEAR(two_sided_p(0.1, 3), 0.9266523488008058, 1e-10);
}

TEST(PairedTest, ComparesWhatComesOfTheSameSeeds) {
    // scipy.stats.ttest_rel([0.6, 0.7, 0.65, 0.62], [0.58, 0.66, 0.66, 0.6]): t = 1.6977, p = 0.18812.
    const std::vector<double> a = {0.6, 0.7, 0.65, 0.62};
    const std::vector<double> b = {0.58, 0.66, 0.66, 0.6};
    EXPECT_NEAR(paired_p(a, b).value(), 0.1881204043741872, 1e-10);
    EXPECT_FALSE(paired_p(std::vector{0.5}, std::vector{0.4}));
    EXPECT_FALSE(paired_p(std::vector{0.5, 0.6, 0.7}, std::vector{0.4, 0.5, 0.6})) << "always the same difference";
    EXPECT_NEAR(standard_deviation(a).value(), 0.04349329450233295, 1e-12);
    EXPECT_FALSE(standard_deviation(std::vector{0.5}));
}

json evaluation(double at_half, double calibrated, double area, std::optional<double> rare = {}) {
    json report = {
        {"macro_f1",
         {{"at_0.5", {{"classes_with_positives", at_half}}}, {"calibrated", {{"classes_with_positives", calibrated}}}}},
        {"mean_average_precision", area},
        {"groups", json::object()}};
    if (rare) report["groups"]["rare"] = {{"macro_f1", {{"at_0.5", *rare}}}};
    return report;
}

TEST(Comparison, HasMeanSpreadAndPairedTestOfEachMethod) {
    const json evaluations[] = {evaluation(0.50, 0.5, 0.6, 0.1), evaluation(0.52, 0.5, 0.6, 0.2),
                                evaluation(0.53, 0.6, 0.7, 0.3), evaluation(0.51, 0.6, 0.7),
                                evaluation(0.56, 0.6, 0.7),      evaluation(0.55, 0.6, 0.7)};
    const std::vector<ComparedRun> runs = {{"none", 1, evaluations[0]}, {"mix2", 1, evaluations[3]},
                                           {"none", 2, evaluations[1]}, {"mix2", 2, evaluations[4]},
                                           {"none", 3, evaluations[2]}, {"mix2", 3, evaluations[5]}};
    const auto table = comparison_table(runs);
    ASSERT_EQ(table["methods"].size(), 2U);
    const auto& first = table["methods"][0];
    EXPECT_EQ(first["method"], "none");
    EXPECT_EQ(first["seeds"], json({1, 2, 3}));
    EXPECT_NEAR(first["figures"]["macro_f1_at_0.5"]["mean"].get<double>(), 0.516667, 1e-6);
    EXPECT_NEAR(first["figures"]["macro_f1_at_0.5"]["spread"].get<double>(), 0.0152753, 1e-6);
    EXPECT_TRUE(first["figures"]["macro_f1_at_0.5"]["p"].is_null()) << "against itself";
    EXPECT_NEAR(first["figures"]["rare_f1_at_0.5"]["mean"].get<double>(), 0.2, 1e-9);
    const auto& second = table["methods"][1]["figures"];
    // scipy.stats.ttest_rel of the three pairs.
    EXPECT_NEAR(second["macro_f1_at_0.5"]["p"].get<double>(), 0.1180828963, 1e-9);
    EXPECT_FALSE(second.contains("rare_f1_at_0.5"));

    EXPECT_EQ(to_markdown(table),
              "| method | runs | macro F1 at 0.5 | calibrated | mean AP | rare |\n"
              "|---|---|---|---|---|---|\n"
              "| none | 3 | 0.517 ± 0.015 | 0.533 ± 0.058 | 0.633 ± 0.058 | 0.200 ± 0.100 |\n"
              "| mix2 | 3 | 0.540 ± 0.026 (p 0.12) | 0.600 ± 0.000 (p 0.18) | 0.700 ± 0.000 (p 0.18) | |\n\n"
              "mean ± standard deviation over the runs; p: paired by seed, against none\n");
}

TEST(Comparison, PairsOnlySeedsThatBothHave) {
    const json evaluations[] = {evaluation(0.1, 0.1, 0.1), evaluation(0.5, 0.5, 0.5), evaluation(0.2, 0.2, 0.2)};
    const std::vector<ComparedRun> runs = {
        {"none", 1, evaluations[0]}, {"mix2", 1, evaluations[1]}, {"mix2", 2, evaluations[2]}};
    const auto table = comparison_table(runs);
    EXPECT_TRUE(table["methods"][1]["figures"]["macro_f1_at_0.5"]["p"].is_null());
    EXPECT_TRUE(table["methods"][0]["figures"]["macro_f1_at_0.5"]["spread"].is_null());
    EXPECT_EQ(table["methods"][1]["figures"]["macro_f1_at_0.5"]["by_seed"], json({0.5, 0.2}));
    EXPECT_EQ(table["methods"][0]["figures"]["macro_f1_at_0.5"]["by_seed"], json({0.1}));
}

}  // namespace
}  // namespace chorus
