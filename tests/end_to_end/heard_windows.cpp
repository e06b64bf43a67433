#include "tests/end_to_end/heard_windows.h"

#include <gmock/gmock.h>

namespace chorus {

std::map<std::string, std::vector<std::string>> models_of_every_window(const Station& station, std::int64_t hop) {
    struct Heard {
        std::int64_t covered = 0;
        std::int64_t windows = 0;  // of the open event
        std::string open;
        std::vector<std::string> models;
    };
    std::map<std::string, Heard> channels;
    for (const auto& [seq, event] : station.seen()) {
        if (event["code"] != "OWL") continue;
        auto& heard = channels[event["source"].get<std::string>() + std::to_string(event["channel"].get<int>())];
        const auto end = event["end_sample"].get<std::int64_t>();
        if (event["phase"] == "close") {
            EXPECT_EQ(event["id"], heard.open);
            EXPECT_EQ(event["windows"], heard.windows) << "each of its windows was told of";
            heard.open.clear();
            continue;
        }
        if (event["phase"] == "open") {
            EXPECT_EQ(heard.open, "") << "the old model's is closed first";
            if (heard.models.empty()) heard.covered = event["start_sample"];
            EXPECT_LE(event["start_sample"], heard.covered) << "sound in no window";
            heard.open = event["id"];
            heard.windows = 0;
            heard.models.push_back(event["model"]);
        } else {
            EXPECT_EQ(end, heard.covered + hop);
        }
        EXPECT_EQ(event["model"], heard.models.back());
        EXPECT_EQ(event["windows"], ++heard.windows) << "one more with each message";
        heard.covered = end;
    }
    std::map<std::string, std::vector<std::string>> models;
    for (auto& [channel, heard] : channels) {
        EXPECT_EQ(heard.open, "");
        models[channel] = std::move(heard.models);
    }
    return models;
}

}  // namespace chorus
