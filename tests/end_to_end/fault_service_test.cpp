// What befalls the service itself: models, configurations, kill -9.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <random>
#include <thread>

#include "tests/end_to_end/station.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
namespace fs = std::filesystem;

bool long_runs() {
    const char* const value = std::getenv("CHORUS_LONG");
    return value != nullptr && std::string(value) == "1";
}

std::string contents(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

TEST(FaultOfTheModel, IsOneLineAtTheStart) {
    Station station(kSteady);
    const auto whole = contents(station.bundle());
    auto overwritten = whole;
    overwritten.replace(8, 64, std::string(64, '#'));
    for (const auto& broken :
         {whole.substr(0, whole.size() / 2), overwritten, std::string("no model"), std::string()}) {
        std::ofstream(station.bundle(), std::ios::binary) << broken;
        const auto ended = run_program({CHORUSD, "run", "--config", station.config()}, station.folder());
        EXPECT_EQ(ended.status, 1);
        EXPECT_EQ(lines_of(ended.err).size(), 1U) << ended.err;
        EXPECT_THAT(ended.err, HasSubstr(station.bundle().string() + ": "));
        EXPECT_THAT(ended.err, HasSubstr("chorusd.toml:"));
    }
    auto no_numbers = whole;
    no_numbers.replace(whole.size() - 4096, 4096, std::string(4096, '\xff'));
    std::ofstream(station.bundle(), std::ios::binary) << no_numbers;
    for (const std::string verb : {"check", "run"}) {
        const auto ended = run_program({CHORUSD, verb, "--config", station.config()}, station.folder());
        EXPECT_EQ(ended.status, 1);
        EXPECT_EQ(lines_of(ended.err).size(), 1U) << ended.err;
        EXPECT_THAT(ended.err, HasSubstr(station.bundle().string() + ": tensor "));
        EXPECT_THAT(ended.err, HasSubstr(" holds what is no number"));
    }
    std::ofstream(station.bundle(), std::ios::binary) << whole;
    station.start();
    EXPECT_TRUE(station.until_events("steady", 2));
    station.stop();
    expect_whole_journal(station);
}

TEST(FaultOfTheConfiguration, OnReloadKeepsTheLastGoodOne) {
    const std::string second =
        "[[source]]\nname = 'second'\n"
        "launch = 'audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=16000,channels=1'\n";
    Station station(kSteady);
    const auto reloads = [](const std::string& result) {
        return [result](const Scrape& scrape) {
            return scrape.sum("chorus_config_reloads_total", {{"result", result}}) == 1;
        };
    };
    station.start();
    ASSERT_TRUE(station.until_events("steady", 4));

    station.write_config(std::string(kSteady) + second + "nonsense = 1\n", "[log]\nlevel = 'loud'\n");
    station.daemon().signal(SIGHUP);
    ASSERT_TRUE(station.until("the reload is refused", reloads("refused")));
    EXPECT_TRUE(station.until_logged("log.level: "));
    EXPECT_TRUE(station.until_logged("nonsense"));
    EXPECT_THAT(station.daemon().err(), HasSubstr(station.config().string() + ":"));
    EXPECT_TRUE(station.until_events("steady", 4));

    station.write_config(std::string(kSteady) + second);
    station.daemon().signal(SIGHUP);
    ASSERT_TRUE(station.until("the reload is applied", reloads("applied")));
    EXPECT_TRUE(station.until_events("second", 4));
    EXPECT_TRUE(station.until_events("steady", 4));
    station.stop();
    expect_whole_journal(station);
}

// The kernel gives a signal to any thread that doesn't block it.
TEST(Signals, AreHeardWhicheverThreadTheyComeTo) {
    Station station(kSteady);
    station.start();
    ASSERT_TRUE(station.until_events("steady", 2));
    const auto pid = station.daemon().pid();
    int reloads = 0;
    for (const auto& thread : fs::directory_iterator(fmt::format("/proc/{}/task", pid))) {
        std::ifstream status(thread.path() / "status");
        std::uint64_t blocked = 0;
        for (std::string word; status >> word;) {
            if (word == "SigBlk:") status >> std::hex >> blocked;
        }
        if ((blocked >> (SIGHUP - 1) & 1U) != 0) continue;
        const auto id = std::stoi(thread.path().filename());
        ASSERT_EQ(syscall(SYS_tgkill, pid, id, SIGHUP), 0);
        ++reloads;
        ASSERT_TRUE(station.until(
            "it reloads", [&](const Scrape& scrape) { return scrape.sum("chorus_config_reloads_total") == reloads; }));
    }
    station.stop();
}

// 5 times, 50 with CHORUS_LONG=1.
/// One of the examples, keeping its copy of a station's events.
class Follower {
  public:
    Follower(const Station& station, std::vector<std::string> program)
        : folder_(station.folder()),
          copy_(folder_ / (fs::path(program.back()).filename().string() + ".jsonl")),
          command_(std::move(program)) {
        command_.insert(command_.end(),
                        {copy_, "--publish", address(station, "publish"), "--replay", address(station, "replay")});
        restart();
    }
    static std::string address(const Station& station, const std::string& name) {
        return "ipc://" + (station.folder() / name).string();
    }
    /// Killed wherever it is.
    void restart() { process_ = std::make_unique<Process>(command_, folder_); }

    /// The copy, by seq; a test fails where it has a hole or says anything twice. A line under way is left out.
    std::map<std::int64_t, nlohmann::json> copy() const {
        std::map<std::int64_t, nlohmann::json> events;
        std::ifstream file(copy_);
        for (std::string line; std::getline(file, line) && !file.eof();) {
            auto body = nlohmann::json::parse(line);
            const auto seq = body["seq"].get<std::int64_t>();
            EXPECT_EQ(seq, std::ssize(events) + 1) << copy_;
            events[seq] = std::move(body);
        }
        EXPECT_EQ(process_->err(), "");
        return events;
    }

  private:
    fs::path folder_;
    fs::path copy_;
    std::vector<std::string> command_;
    std::unique_ptr<Process> process_;
};

TEST(KillNine, AtRandomPointsLosesNoEventThatWasPublishedAndReusesNoSeq) {
    const int kills = long_runs() ? 50 : 5;
    const auto seed = std::random_device()();
    std::cout << "seed " << seed << std::endl;
    std::mt19937 random(seed);
    Station station(kSteady);
    station.stay_at(Follower::address(station, "publish"), Follower::address(station, "replay"));
    Follower followers[] = {Follower(station, {"/usr/bin/python3", FOLLOW_PY}), Follower(station, {FOLLOW_CPP})};
    for (int kill = 0; kill < kills; ++kill) {
        if (random() % 2 == 0) followers[random() % 2].restart();
        if (random() % 4 == 0) {
            // While it starts: the journal is being opened, what the last run left open is being closed.
            station.start_without_waiting();
            std::this_thread::sleep_for(std::chrono::milliseconds(random() % 1500));
        } else {
            station.start();
            ASSERT_TRUE(station.until_events("steady", static_cast<int>(random() % 6)));
            std::this_thread::sleep_for(std::chrono::milliseconds(random() % 250));
        }
        station.kill();
        if (fs::exists(station.journal())) station.expect_sound_journal();
        ASSERT_FALSE(testing::Test::HasFailure()) << "kill " << kill + 1;
    }
    station.start();
    ASSERT_TRUE(station.until_events("steady", 4));
    const auto last = station.seen().rbegin()->first;
    for (const auto& follower : followers) {
        EXPECT_TRUE(
            station.until("the example has all", [&](const Scrape&) { return std::ssize(follower.copy()) >= last; }))
            << follower.copy().size() << " of " << last;
    }
    station.stop();
    expect_whole_journal(station);
    for (const auto& follower : followers)
        expect_journal_holds(station.journal(), station.folder() / "another.db", follower.copy(), 1);
}

}  // namespace
}  // namespace chorus
