// The examples of examples/ against a station that is restarted while they are killed: nothing missed, nothing twice.

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "daemon/feed.h"
#include "daemon/replay.h"
#include "daemon/time_format.h"
#include "streaming/messaging.h"
#include "tests/daemon/fakes.h"
#include "tests/temporary_folder.h"

extern char** environ;

namespace chorus {
namespace {

using namespace std::chrono_literals;

class Follower {
  public:
    explicit Follower(std::vector<std::string> command, const std::string& errors = "/dev/null") {
        std::vector<char*> arguments;
        for (auto& word : command) arguments.push_back(word.data());
        arguments.push_back(nullptr);
        posix_spawn_file_actions_t actions;
        posix_spawn_file_actions_init(&actions);
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, errors.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
        EXPECT_EQ(posix_spawn(&pid_, arguments[0], &actions, nullptr, arguments.data(), environ), 0) << command[0];
        posix_spawn_file_actions_destroy(&actions);
    }
    ~Follower() {
        if (pid_ < 0) return;
        kill(pid_, SIGKILL);
        waitpid(pid_, nullptr, 0);
    }
    Follower(const Follower&) = delete;
    Follower& operator=(const Follower&) = delete;

    /// The exit status of one that ends by itself.
    int wait() {
        int status = 0;
        waitpid(std::exchange(pid_, -1), &status, 0);
        return WEXITSTATUS(status);
    }

  private:
    pid_t pid_ = -1;
};

/// What a station is to its subscribers.
struct Station {
    explicit Station(const TemporaryFolder& folder, std::optional<CurveServer> keys = std::nullopt)
        : messaging(std::move(keys)),
          feed({.station = "st",
                .endpoint = fmt::format("ipc://{}", (folder / "publish").string()),
                .status_interval = 50ms,
                .journal = {{.path = folder / "j.db"}}},
               messaging, metrics),
          replay(messaging, fmt::format("ipc://{}", (folder / "replay").string()), folder / "j.db", metrics) {
        feed.start([] { return std::vector<SourceReport>{}; }, [] { return ModelStatus{}; });
    }
    void send_event(int number) {
        Event event;
        event.phase = EventPhase::kClose;
        event.station = "st";
        event.source = "mic";
        event.code = "TONE";
        event.start_sample = number;
        event.sound_received = std::chrono::steady_clock::now();
        feed.on_event(std::move(event));
    }
    Metrics metrics{"st"};
    Messaging messaging;
    Feed feed;
    ReplayServer replay;
};

int lines_in(const std::filesystem::path& path) {
    std::ifstream file(path);
    return static_cast<int>(std::count(std::istreambuf_iterator<char>(file), {}, '\n'));
}

class Follow : public testing::TestWithParam<std::pair<const char*, std::vector<std::string>>> {
  protected:
    std::vector<std::string> command() const {
        auto command = GetParam().second;
        command.push_back(copy_.string());
        for (const std::string endpoint : {"publish", "replay"}) {
            command.push_back("--" + endpoint);
            command.push_back(fmt::format("ipc://{}", (folder_ / endpoint).string()));
        }
        return command;
    }
    bool copy_grows_to(int lines) const {
        const auto deadline = std::chrono::steady_clock::now() + 60s;
        while (lines_in(copy_) < lines && std::chrono::steady_clock::now() < deadline) std::this_thread::sleep_for(5ms);
        return lines_in(copy_) == lines;
    }

    const TemporaryFolder folder_;
    const std::filesystem::path copy_ = folder_ / "copy.jsonl";
};

TEST_P(Follow, MissesNothingAcrossItsOwnRestartsAndTheDaemons) {
    std::minstd_rand random(3);
    int sent = 0;
    const auto send = [&](Station& station, int count) {
        for (int i = 0; i < count; ++i) station.send_event(++sent);
    };
    for (int daemon_run = 0; daemon_run < 2; ++daemon_run) {
        Station station(folder_);
        send(station, 700);  // while nobody listens
        for (int follower_run = 0; follower_run < 3; ++follower_run) {
            const Follower follower(command());
            const int enough = lines_in(copy_) + static_cast<int>(random() % 200);
            while (lines_in(copy_) < std::min(enough, sent)) {
                send(station, 1);  // killed in the middle of this
                std::this_thread::sleep_for(1ms);
            }
        }
        const Follower follower(command());
        send(station, 50);
        ASSERT_TRUE(copy_grows_to(sent)) << lines_in(copy_) << " of " << sent;
    }

    std::ifstream file(copy_);
    int seq = 0;
    for (std::string line; std::getline(file, line);) ASSERT_EQ(nlohmann::json::parse(line)["seq"], ++seq);
    EXPECT_EQ(seq, sent);
}

TEST_P(Follow, SaysWhichEventsAreNoLongerKept) {
    {
        Journal journal({.path = folder_ / "j.db", .max_bytes = 1});
        for (int seq = 1; seq <= 10; ++seq) {
            const JournalEntry entry{seq, "event.st.mic.0.TONE",
                                     fmt::format(R"({{"schema":"chorus.event/1","seq":{},"phase":"close"}})", seq)};
            journal.append({&entry, 1}, utc_now(), true);
        }
        journal.trim(utc_now(), true);
    }
    Station station(folder_);
    const auto errors = folder_ / "errors";
    const Follower follower(command(), errors);
    ASSERT_TRUE(copy_grows_to(1));
    std::string line;
    std::ifstream file(errors);
    std::getline(file, line);
    EXPECT_EQ(line, "follow: events 1 to 9 are no longer kept");
}

TEST_P(Follow, EndsWhenTheStationCountsAnew) {
    std::ofstream(copy_) << R"({"schema":"chorus.event/1","seq":4711})" << '\n';
    Station station(folder_);
    station.send_event(1);
    const auto errors = folder_ / "errors";
    EXPECT_EQ(Follower(command(), errors).wait(), 1);
    std::string line;
    std::ifstream file(errors);
    std::getline(file, line);
    EXPECT_THAT(line,
                testing::MatchesRegex("follow: the station counts anew: its last event is [01], this copy's 4711"));
}

TEST_P(Follow, ShowsItsKeysToAStationThatAsksForThem) {
    const auto server = make_curve_key_pair();
    const auto client = make_curve_key_pair();
    auto keyed = command();
    for (const auto& word :
         {std::string("--server-key-file"), folder_.make("station.pub", server.public_key + "\n"),
          std::string("--key-file"), folder_.make("lab.key", "# a secret key\n" + client.secret_key + "\n")})
        keyed.push_back(word);
    Station station(folder_, CurveServer{.keys = server, .allowed = {{client.public_key, "lab"}}});
    station.send_event(1);
    const Follower follower(keyed);
    ASSERT_TRUE(copy_grows_to(1)) << "by the replay socket";
    station.send_event(2);
    EXPECT_TRUE(copy_grows_to(2)) << "by the stream";
}

TEST_P(Follow, RefusesHalfOfTheKeys) {
    auto half = command();
    half.insert(half.end(), {"--key-file", folder_.make("lab.key", "no key\n")});
    const auto errors = folder_ / "errors";
    EXPECT_EQ(Follower(half, errors).wait(), 2);
    half.insert(half.end(), {"--server-key-file", (folder_ / "lab.key").string()});
    EXPECT_EQ(Follower(half, errors).wait(), 1);
}

INSTANTIATE_TEST_SUITE_P(Examples, Follow,
                         testing::Values(std::pair{"Python",
                                                   std::vector<std::string>{"/usr/bin/python3", CHORUS_FOLLOW_PY}},
                                         std::pair{"Cpp", std::vector<std::string>{CHORUS_FOLLOW_CPP}}),
                         [](const auto& test) { return test.param.first; });

}  // namespace
}  // namespace chorus
