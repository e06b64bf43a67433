#include "trainer/html_report.h"

#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>

#include "tests/temporary_folder.h"
#include "trainer/curves.h"
#include "trainer/promotion_report.h"
#include "trainer/report.h"
#include "trainer/svg.h"

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Not;

/// Whether each element of a text is closed where it should be; those that stand alone are left aside.
bool is_balanced(const std::string& html) {
    const std::set<std::string> alone = {"!DOCTYPE", "meta", "img", "br"};
    std::vector<std::string> open;
    for (auto at = html.find('<'); at != html.npos; at = html.find('<', at + 1)) {
        const auto end = html.find('>', at);
        if (end == html.npos) return false;
        const auto tag = html.substr(at + 1, end - at - 1);
        const bool closes = tag.starts_with('/');
        const auto name = tag.substr(closes ? 1 : 0, tag.find_first_of(" /", 1) - (closes ? 1 : 0));
        if (alone.contains(name) || tag.ends_with('/')) continue;
        if (!closes) {
            open.push_back(name);
        } else if (open.empty() || open.back() != name) {
            return false;
        } else {
            open.pop_back();
        }
    }
    return open.empty();
}

class HtmlReport : public testing::Test {
  protected:
    HtmlReport() {
        report_["training"] = {{"seed", 7},
                               {"by_epoch",
                                {{{"loss", 0.7}, {"held_out_mean_average_precision", 0.2}},
                                 {{"loss", 0.5}, {"held_out_mean_average_precision", nullptr}}}}};
        report_["left_out"] = left_out_report(std::vector<LeftOut>{{.item = "a<b>.wav", .reason = "is \"silent\""}});
    }

    ReportPage page() {
        return {.title = "Frogs & <toads>",
                .report = report_,
                .evaluation = evaluation_,
                .curves = curves_,
                .mistakes = {{.item = "pond.wav at 3 s",
                              .code = "B",
                              .score = 0.04F,
                              .threshold = 0.5F,
                              .is_present = true,
                              .features = std::vector<float>(12, 0.5F),
                              .mels = 3,
                              .frames = 4}}};
    }

    std::vector<std::string> codes_ = {"A", "B"};
    std::vector<float> thresholds_ = {0.5F, 0.5F};
    std::vector<std::uint32_t> recordings_ = {0, 1, 2, 3};
    ScoreTable table_{.classes = 2,
                      .scores = {0.9F, 0.1F, 0.8F, 0.96F, 0.7F, 0.2F, 0.05F, 0.04F},
                      .targets = {1, 0, 0, 1, 1, 0, 1, 1}};
    nlohmann::json evaluation_ =
        evaluation_report(table_, {.codes = codes_, .thresholds = thresholds_, .recordings = recordings_});
    nlohmann::json curves_ = curves_report(table_, codes_);
    nlohmann::json report_;
};

TEST_F(HtmlReport, IsOnePageThatNeedsNothingElse) {
    const auto html = html_report(page());
    EXPECT_TRUE(html.starts_with("<!DOCTYPE html>"));
    EXPECT_TRUE(is_balanced(html));
    EXPECT_THAT(html, Not(HasSubstr("http")));
    EXPECT_THAT(html, Not(HasSubstr("<script")));
    EXPECT_THAT(html, HasSubstr("<svg"));
    EXPECT_THAT(html, HasSubstr("src='data:image/bmp;base64,Qk"));
}

TEST_F(HtmlReport, ShowsFiguresWithTheirIntervalsAndTheMistakes) {
    const auto html = html_report(page());
    EXPECT_THAT(html, HasSubstr("<td>B</td>"));
    EXPECT_THAT(html, HasSubstr("<small>["));
    EXPECT_THAT(html, HasSubstr("<b>B</b> missed: score 0.040, threshold 0.500<br>pond.wav at 3 s"));
    EXPECT_THAT(html, HasSubstr("<h2>Training</h2>"));
    EXPECT_THAT(html, HasSubstr("&quot;seed&quot;: 7"));
}

TEST_F(HtmlReport, ShowsEventsWhereCallsHaveTimes) {
    EXPECT_THAT(html_report(page()), Not(HasSubstr("<h2>Events</h2>")));
    evaluation_["events"] = {{"hours", 0.5},
                             {"macro_f1", 0.625},
                             {"classes_with_calls", 1},
                             {"classes",
                              {{{"code", "B"},
                                {"events", 7},
                                {"calls", 9},
                                {"precision", 0.5},
                                {"recall", 0.25},
                                {"f1", 0.333},
                                {"wrong_events_an_hour", 7.0}}}}};
    const auto html = html_report(page());
    EXPECT_TRUE(is_balanced(html));
    EXPECT_THAT(html, HasSubstr("macro F1 0.625 over the 1 classes"));
    EXPECT_THAT(html, HasSubstr("<td>B</td><td>7</td><td>9</td><td>0.500</td><td>0.250</td>"));
}

TEST_F(HtmlReport, LetsNoTextOfADatasetBeMarkup) {
    const auto html = html_report(page());
    EXPECT_THAT(html, HasSubstr("<h1>Frogs &amp; &lt;toads&gt;</h1>"));
    EXPECT_THAT(html, HasSubstr("a&lt;b&gt;.wav"));
    EXPECT_THAT(html, HasSubstr("is &quot;silent&quot;"));
}

TEST_F(HtmlReport, StandsBesideTheSameNumbersAsJson) {
    const TemporaryFolder folder;
    write_report(folder / "run.html", page());
    std::ifstream file(folder / "run.json");
    const auto numbers = nlohmann::json::parse(file);
    EXPECT_EQ(numbers["curves"], curves_);
    EXPECT_EQ(numbers["mistakes"][0]["item"], "pond.wav at 3 s");
    EXPECT_EQ(numbers["left_out"]["count"], 1);
    EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 2);
    EXPECT_THAT([&] { write_report(folder / "none/run.html", page()); },
                testing::ThrowsMessage<std::runtime_error>(HasSubstr("none/run.html: cannot be written")));
}

TEST(GreyPicture, IsABitmapFromTheBottomUp) {
    // 1 x 2: white is 0, black 1. Header of 14 + 40 bytes, 1024 of greys, one row of 4.
    const std::vector<float> values = {0.0F, 1.0F};
    const auto html = grey_picture(values, 1, 2, "it's");
    EXPECT_THAT(html, HasSubstr("width='2' height='1' alt='it&#39;s'"));
    const auto data = html.substr(html.find("base64,") + 7);
    EXPECT_EQ(data.find('\''), (14U + 40U + 1024U + 4U + 2U) / 3U * 4U);
}

TEST(IntervalChart, DrawsADotAndAnIntervalAnEstimate) {
    const std::vector<std::string> series = {"before", "after"};
    const std::vector<EstimateRow> rows = {
        {.label = "A<B>",
         .estimates = {{.value = 0.5, .low = 0.25, .high = 0.75}, {.value = 1.0, .low = 0.9, .high = 2.0}}},
        {.label = "C", .estimates = {{.value = 0.0}}}};
    const auto svg = interval_chart("t", series, rows);
    EXPECT_TRUE(is_balanced(svg));
    EXPECT_THAT(svg, HasSubstr("A&lt;B&gt;"));
    EXPECT_THAT(svg, HasSubstr("<line x1='220.0' x2='420.0' y1='44.0'"));
    EXPECT_THAT(svg, HasSubstr("<circle cx='320.0' cy='44.0'"));
    EXPECT_THAT(svg, HasSubstr("<line x1='480.0' x2='520.0' y1='51.0'")) << "kept within the axis";
    EXPECT_THAT(svg, HasSubstr("<circle cx='120.0' cy='65.0'"));
}

TEST_F(HtmlReport, TellsOfAPromotion) {
    const ScoreTable truth{.classes = 2, .scores = {0.9F, 0.1F, 0.2F, 0.1F}, .targets = {1, 0, 0, 1}};
    auto better = truth;
    better.scores[3] = 0.8F;
    Judgement judgement{.comparison = {},
                        .codes = {"A", "B"},
                        .recordings = {0, 1},
                        .current = {.table = truth, .thresholds = {0.5F, 0.5F}},
                        .candidate = {.table = better, .thresholds = {0.5F, 0.5F}}};
    judgement.comparison =
        compare_models(judgement.current, judgement.candidate, judgement.codes, 1, judgement.recordings, {});
    judgement.comparison.earlier = {.macro = {.current_f1 = 0.25, .candidate_f1 = 0.5}, .classes = {}};
    judgement.comparison.not_judged = {"C", "D"};
    judgement.comparison.noise = {.hours = 0.5, .current_events = 3, .candidate_events = 2};
    auto line = describe(judgement.comparison);
    line.update({{"candidate", "0123456789abcdef"},
                 {"current", "fedcba9876543210"},
                 {"outcome", "refused"},
                 {"reasons", {"A: F1 <falls>"}}});
    auto fitted = report_;
    fitted["test"] = evaluation_report(
        better,
        {.codes = judgement.codes, .thresholds = judgement.candidate.thresholds, .recordings = judgement.recordings});
    const TemporaryFolder folder;
    write_promotion_report(folder / "p.html", line, judgement, fitted);
    std::ifstream file(folder / "p.html");
    const std::string html(std::istreambuf_iterator<char>(file), {});
    EXPECT_TRUE(is_balanced(html));
    EXPECT_THAT(html,
                HasSubstr("Candidate 0123456789abcdef was <b>refused</b>; the current model was fedcba9876543210"));
    EXPECT_THAT(html, HasSubstr("<li>A: F1 &lt;falls&gt;</li>"));
    EXPECT_THAT(html, HasSubstr("Macro F1 0.500 &rarr; 1.000"));
    EXPECT_THAT(html, HasSubstr("Macro F1 over the known classes alone: 1.000 &rarr; 1.000."));
    EXPECT_THAT(html, HasSubstr("Macro F1 by the labels of the last decision: 0.250 &rarr; 0.500."));
    EXPECT_THAT(html, HasSubstr("nothing judged: C, D."));
    EXPECT_THAT(html, HasSubstr("false events in 0.50 h of noise: 3 &rarr; 2"));
    EXPECT_THAT(html, HasSubstr("<td>B (new)</td><td>0</td><td>1</td><td>0.000</td><td>1.000</td>"));
    EXPECT_THAT(html, HasSubstr(">candidate</text>"));
    std::ifstream numbers(folder / "p.json");
    EXPECT_EQ(nlohmann::json::parse(numbers)["decision"], line);
}

TEST(LineChart, KeepsWhatLiesOutsideAtTheEdge) {
    const Series series{.label = "x", .points = {{-5.0, 0.5}, {0.5, 7.0}}};
    const auto svg = line_chart("t", {.label = "a"}, {.label = "b"}, {&series, 1});
    EXPECT_TRUE(is_balanced(svg));
    EXPECT_THAT(svg, HasSubstr("points='46.0,"));
    EXPECT_THAT(svg, HasSubstr(",26.0 "));
}

}  // namespace
}  // namespace chorus
