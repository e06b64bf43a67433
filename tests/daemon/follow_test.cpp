// The examples of examples/ against a station that is restarted while they are killed: nothing missed, nothing twice.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "daemon/feed.h"
#include "daemon/replay.h"
#include "tests/daemon/fakes.h"
#include "tests/temporary_folder.h"

extern char** environ;

namespace chorus {
namespace {

using namespace std::chrono_literals;

class Follower {
  public:
    explicit Follower(std::vector<std::string> command) {
        std::vector<char*> arguments;
        for (auto& word : command) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        EXPECT_EQ(posix_spawn(&pid_, arguments[0], nullptr, nullptr, arguments.data(), environ), 0) << command[0];
    }
    ~Follower() {
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

  private:
    pid_t pid_ = -1;
};

/// What a station is to its subscribers.
struct Station {
    explicit Station(const TemporaryFolder& folder)
        : feed({.station = "st",
                .endpoint = fmt::format("ipc://{}", (folder / "publish").string()),
                .status_interval = 50ms,
                .journal = {{.path = folder / "j.db"}}},
               bundle, metrics),
          replay(fmt::format("ipc://{}", (folder / "replay").string()), folder / "j.db", metrics) {
        feed.start([] { return std::vector<SourceReport>{}; });
    }
    const Bundle bundle = tone_bundle();
    Metrics metrics{"st"};
    Feed feed;
    ReplayServer replay;
};

int lines_in(const std::filesystem::path& path) {
    std::ifstream file(path);
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

class Follow : public testing::TestWithParam<std::pair<const char*, std::vector<std::string>>> {};

TEST_P(Follow, MissesNothingAcrossItsOwnRestartsAndTheDaemons) {
    const TemporaryFolder folder;
    const auto copy = folder / "copy.jsonl";
    auto command = GetParam().second;
    const bool named = command.size() > 1;  // the Python program's endpoints are options
    command.push_back(copy.string());
    for (const std::string endpoint : {"publish", "replay"}) {
        if (named) command.push_back("--" + endpoint);
        command.push_back(fmt::format("ipc://{}", (folder / endpoint).string()));
    }

    std::minstd_rand random(3);
    int sent = 0;
    const auto send = [&](Station& station, int count) {
        for (int i = 0; i < count; ++i) {
            Event event;
            event.phase = EventPhase::kClose;
            event.station = "st";
            event.source = "mic";
            event.code = "TONE";
            event.start_sample = ++sent;
            event.sound_received = std::chrono::steady_clock::now();
            station.feed.on_event(std::move(event));
        }
    };
    const auto caught_up = [&] {
        const auto deadline = std::chrono::steady_clock::now() + 60s;
        while (lines_in(copy) < sent && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(5ms);
        return lines_in(copy) == sent;
    };
    for (int daemon_run = 0; daemon_run < 2; ++daemon_run) {
        Station station(folder);
        send(station, 700);  // while nobody listens
        for (int follower_run = 0; follower_run < 3; ++follower_run) {
            const Follower follower(command);
            const int enough = lines_in(copy) + static_cast<int>(random() % 200);
            while (lines_in(copy) < std::min(enough, sent)) {
                send(station, 1);  // killed in the middle of this
                std::this_thread::sleep_for(1ms);
            }
        }
        const Follower follower(command);
        send(station, 50);
        ASSERT_TRUE(caught_up()) << lines_in(copy) << " of " << sent;
    }

    std::ifstream file(copy);
    int seq = 0;
    for (std::string line; std::getline(file, line);) ASSERT_EQ(nlohmann::json::parse(line)["seq"], ++seq);
    EXPECT_EQ(seq, sent);
}

INSTANTIATE_TEST_SUITE_P(Examples, Follow,
                         testing::Values(std::pair{"Python",
                                                   std::vector<std::string>{"/usr/bin/python3", CHORUS_FOLLOW_PY}},
                                         std::pair{"Cpp", std::vector<std::string>{CHORUS_FOLLOW_CPP}}),
                         [](const auto& test) { return test.param.first; });

}  // namespace
}  // namespace chorus
