// Another model while the real chorusd streams: the event stream shows every window.

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>

#include "model/bundle.h"
#include "tests/end_to_end/heard_windows.h"
#include "tests/end_to_end/station.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr std::int64_t kHop = 4'000;  // a quarter of a second at 16 kHz
const std::string kArray =
    "[[source]]\nname = 'array'\n"
    "launch = 'audiotestsrc is-live=true wave=white-noise ! audio/x-raw,rate=16000,channels=3'\n";

/// The station's model is a link, as at a real one.
class SwappingStation {
  public:
    SwappingStation() : station(kSteady + kArray) {
        fs::rename(station.bundle(), station.folder() / "0.safetensors");
        fs::create_symlink("0.safetensors", station.bundle());
        bundle_ = read_bundle(station.bundle());
        first = bundle_.id;
    }
    /// Writes NAME.safetensors, the model with this changed; returns its id.
    std::string write(const std::string& name, const std::function<void(Bundle&)>& change) {
        auto changed = bundle_;
        change(changed);
        return write_bundle(station.folder() / (name + ".safetensors"), changed);
    }
    void promote(const std::string& name) { link(name, station.bundle()); }
    void link(const std::string& name, const fs::path& path) {
        const auto next = station.folder() / "next";
        fs::create_symlink(name + ".safetensors", next);
        fs::rename(next, path);
    }
    bool uses(const std::string& id) {
        return station.until("model " + id, [&](const Scrape& scrape) {
            return scrape.sum("chorus_model_info", {{"model", id}}) == 1 && station.last_status()["model"] == id;
        });
    }
    bool hears(int events) { return station.until_events("steady", events) && station.until_events("array", events); }

    Station station;
    std::string first;

  private:
    Bundle bundle_;
};

TEST(SwapOfTheModel, LosesNoWindowWhateverTheNewModelIs) {
    SwappingStation swapping;
    auto& station = swapping.station;
    station.start();
    ASSERT_TRUE(swapping.hears(6));

    const auto retrained = swapping.write("retrained", [](Bundle& bundle) { bundle.threshold_rule = "anew"; });
    swapping.promote("retrained");
    ASSERT_TRUE(swapping.uses(retrained));
    ASSERT_TRUE(swapping.hears(6));

    const auto longer = swapping.write("longer", [](Bundle& bundle) {
        bundle.front_end.window_seconds = 1.5;
        bundle.front_end.mels = 96;
        for (auto& label : bundle.labels) {
            if (label.code != "OWL") label.code += "-2";
        }
    });
    swapping.promote("longer");
    ASSERT_TRUE(swapping.uses(longer));
    ASSERT_TRUE(swapping.hears(12));

    // One that is broken and one that the configuration doesn't go with change nothing.
    std::ofstream(station.folder() / "broken.safetensors") << "no bundle";
    swapping.promote("broken");
    const auto refused = [](int times) {
        return [times](const Scrape& scrape) { return scrape.sum("chorus_model_load_failures_total") == times; };
    };
    ASSERT_TRUE(station.until("it is refused", refused(1)));
    EXPECT_TRUE(station.until_logged("model.safetensors: "));
    EXPECT_TRUE(station.until("the status says so", [&](const Scrape&) {
        return station.last_status()["model_error"].is_string() && station.last_status()["model"] == longer;
    }));
    EXPECT_THAT(station.health(), HasSubstr("200 OK")) << "the old one serves";
    swapping.write("owlless", [](Bundle& bundle) {
        for (auto& label : bundle.labels) label.code += "-3";
    });
    swapping.promote("owlless");
    ASSERT_TRUE(station.until("it is refused", refused(2)));
    EXPECT_TRUE(station.until_logged("detection.threshold_scale: every class's threshold is 1"));
    ASSERT_TRUE(swapping.hears(4));

    swapping.promote("0");  // back to the parent
    ASSERT_TRUE(swapping.uses(swapping.first));
    EXPECT_TRUE(station.last_status()["model_error"].is_null());
    ASSERT_TRUE(swapping.hears(12));
    EXPECT_EQ(station.last_scrape().sum("chorus_model_swaps_total"), 3);
    for (const std::string reason : {"overload", "short", "error"})
        EXPECT_EQ(station.last_scrape().sum("chorus_samples_dropped_total", {{"reason", reason}}), 0) << reason;
    station.stop();
    expect_whole_journal(station);
    const auto models = ElementsAre(swapping.first, retrained, longer, swapping.first);
    EXPECT_THAT(models_of_every_window(station, kHop),
                ElementsAre(testing::Pair("array0", models), testing::Pair("array1", models),
                            testing::Pair("array2", models), testing::Pair("steady0", models)));
}

TEST(Shadow, TellsOfACandidateAsideUntilItIsPromoted) {
    SwappingStation swapping;
    auto& station = swapping.station;
    station.run_in_shadow("auto");
    station.start();
    ASSERT_TRUE(swapping.hears(4));
    const auto candidate = swapping.write("better", [](Bundle& bundle) { bundle.threshold_rule = "anew"; });
    swapping.link("better", station.folder() / "candidate");
    ASSERT_TRUE(station.until("the candidate is heard", [&](const Scrape& scrape) {
        return station.last_status()["shadow"] == candidate && station.seen_of_shadow().size() > 8 &&
               scrape.sum("chorus_shadow_windows_total", {{"result", "agreed"}}) > 8;
    }));
    EXPECT_EQ(station.last_scrape().sum("chorus_shadow_windows_total", {{"result", "differed"}}), 0)
        << "the same weights";
    swapping.promote("better");
    ASSERT_TRUE(swapping.uses(candidate));
    ASSERT_TRUE(station.until("both would have sent it", [&](const Scrape& scrape) {
        return scrape.sum("chorus_shadow_events_total", {{"found", "both"}}) >= 4 &&
               station.last_status()["shadow"].is_null();
    }));
    EXPECT_EQ(station.last_scrape().sum("chorus_shadow_events_total"),
              station.last_scrape().sum("chorus_shadow_events_total", {{"found", "both"}}));
    ASSERT_TRUE(swapping.hears(4));
    station.stop();
    expect_whole_journal(station);
    for (const auto& event : station.seen_of_shadow()) EXPECT_EQ(event["model"], candidate);
    models_of_every_window(station, kHop);
}

}  // namespace
}  // namespace chorus
