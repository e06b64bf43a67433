#include "tests/end_to_end/station.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fstream>
#include <iostream>
#include <sstream>
#include <stdexcept>

#include "model/bundle.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
namespace fs = std::filesystem;

// So that a test sees its first event a second after its first sound, not three.
void write_short_windowed(const fs::path& path) {
    auto bundle = read_bundle(CHORUS_STARTER);
    bundle.front_end.window_seconds = 1.0;
    bundle.front_end.hop = 256;
    write_bundle(path, bundle);
}

void expect_balance(const json& status) {
    for (const auto& source : status["sources"]) {
        for (const auto& channel : source["channels"]) {
            auto booked =
                channel["samples_analysed"].get<std::int64_t>() + channel["samples_pending"].get<std::int64_t>();
            for (const auto& [reason, samples] : channel["samples_dropped"].items())
                booked += samples.get<std::int64_t>();
            EXPECT_EQ(channel["samples_in"], booked) << source.dump();
        }
    }
}

}  // namespace

Station::Station(const std::string& sources, const std::string& more) {
    static int number = 0;
    folder_ = fs::temp_directory_path() / fmt::format("chorus_station.{}.{}", getpid(), ++number);
    fs::create_directories(folder_);
    journal_ = folder_ / "journal.db";
    write_short_windowed(bundle());
    write_config(sources, more);
}

Station::~Station() {
    if (daemon_ && testing::Test::HasFailure()) std::cout << "the log of chorusd:\n" << daemon_->err() << std::endl;
    subscriber_.reset();
    daemon_.reset();
    fs::remove_all(folder_);
}

void Station::replace_in_config(const std::string& before, const std::string& after) const {
    std::ifstream in(config());
    std::stringstream text;
    text << in.rdbuf();
    auto changed = text.str();
    changed.replace(changed.find(before), before.size(), after);
    std::ofstream(config()) << changed;
}

void Station::move_journal(const fs::path& path) {
    replace_in_config(journal_.string(), path.string());
    journal_ = path;
}

void Station::run_in_shadow(const std::string& candidate) {
    replace_in_config("[model]\n", fmt::format("[model]\nshadow = '{}'\n", candidate));
}

void Station::stay_at(const std::string& publish, const std::string& replay) {
    replace_in_config("endpoint = 'tcp://127.0.0.1:*'", fmt::format("endpoint = '{}'", publish));
    replace_in_config("endpoint = ''", fmt::format("endpoint = '{}'", replay));
}

void Station::write_config(const std::string& sources, const std::string& more) {
    std::ofstream(config()) << fmt::format(
        "[station]\nname = 'pond-7'\n"
        "[model]\nbundle = '{}'\n"
        "[analysis]\nhop_seconds = 0.25\nsilence_timeout_seconds = 1.0\n"
        "[detection]\nthreshold_scale = 100.0\nupdate_seconds = 0.1\n"
        "[publish]\nendpoint = 'tcp://127.0.0.1:*'\nstatus_seconds = 0.2\n"
        "[http]\nlisten = '127.0.0.1:0'\n"
        "[journal]\npath = '{}'\n"
        "[replay]\nendpoint = ''\n"
        "[detection.thresholds]\nOWL = 0.0\n{}\n{}\n",
        bundle().string(), journal_.string(), more, sources);
}

void Station::start_without_waiting(const std::vector<std::string>& environment) {
    std::vector<std::string> command = {"/usr/bin/env"};
    command.insert(command.end(), environment.begin(), environment.end());
    command.insert(command.end(), {CHORUSD, "run", "--config", config()});
    subscriber_.reset();
    last_status_ = {};
    scrape_ = Scrape();
    last_seq_.reset();
    daemon_ = std::make_unique<Process>(command, folder_);
}

void Station::start(const std::vector<std::string>& environment) {
    start_without_waiting(environment);
    const auto endpoint = daemon_->wait_for_line("publishing on ", 60s);
    if (!endpoint) throw std::runtime_error("chorusd does not start");
    endpoint_ = *endpoint;
    subscriber_ = std::make_unique<Subscriber>(endpoint_, "");
    const auto http = daemon_->wait_for_line("serving HTTP on 127.0.0.1:", 60s);
    if (!http) throw std::runtime_error("chorusd does not start");
    http_port_ = std::stoi(*http);
}

void Station::stop() {
    const auto begun = std::chrono::steady_clock::now();
    daemon_->signal(SIGTERM);
    const auto ended = daemon_->wait(20s);
    ASSERT_TRUE(ended) << "still runs 20 s after SIGTERM";
    EXPECT_EQ(ended->status, 0) << ended->err;
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 10s);
    for (Message message; subscriber_->receive(message, 200ms);) read_message(message);
    // Each sample has been booked as analysed or dropped: one that was forgotten on its way would still be pending.
    for (const auto& source : last_status_["sources"]) {
        for (const auto& channel : source["channels"]) EXPECT_EQ(channel["samples_pending"], 0) << source.dump();
    }
}

void Station::kill() {
    daemon_->signal(SIGKILL);
    EXPECT_TRUE(daemon_->wait(20s));
    if (!subscriber_) return;
    for (Message message; subscriber_->receive(message, 200ms);) read_message(message);
}

bool Station::until(const std::string& what, const std::function<bool(const Scrape&)>& holds,
                    std::chrono::seconds limit) {
    const auto end = std::chrono::steady_clock::now() + limit;
    while (std::chrono::steady_clock::now() < end) {
        poll(50ms);
        if (holds(scrape_)) return true;
        if (daemon_->wait(0ms)) {
            ADD_FAILURE() << "chorusd ended while waiting for: " << what;
            return false;
        }
    }
    ADD_FAILURE() << "not within " << limit.count() << " s: " << what;
    return false;
}

bool Station::until_events(const std::string& source, int more, std::chrono::seconds limit) {
    const int enough = events_by_source_[source] + more;
    return until(
        fmt::format("{} more events of {}", more, source),
        [&](const Scrape&) { return events_by_source_[source] >= enough; }, limit);
}

bool Station::until_logged(const std::string& text, std::chrono::seconds limit) {
    return until(
        "log: " + text, [&](const Scrape&) { return daemon_->err().find(text) != std::string::npos; }, limit);
}

void Station::poll(std::chrono::milliseconds patience) {
    Message message;
    if (subscriber_->receive(message, patience)) {
        do read_message(message);
        while (subscriber_->receive(message, 0ms));
    }
    const auto page = http_get(http_port_, "/metrics");
    if (!page.starts_with("HTTP/1.1 200")) return;  // it is ending
    scrape_ = Scrape(page);
    EXPECT_EQ(scrape_.imbalance(), "");
}

void Station::read_message(const Message& message) {
    auto body = json::parse(message.body);
    if (message.topic.starts_with("status.")) {
        expect_balance(body);
        last_status_ = std::move(body);
        return;
    }
    if (message.topic.starts_with("shadow.")) {
        EXPECT_FALSE(body.contains("seq")) << body.dump();
        seen_of_shadow_.push_back(std::move(body));
        return;
    }
    const auto seq = body["seq"].get<std::int64_t>();
    EXPECT_EQ(seq, last_seq_.value_or(seq - 1) + 1) << "one apart, in order";
    last_seq_ = seq;
    ++events_by_source_[body["source"]];
    EXPECT_TRUE(seen_.emplace(seq, std::move(body)).second) << "seq " << seq << " was given out twice";
}

JournalSummary Station::expect_sound_journal(std::int64_t first) const {
    return expect_journal_holds(journal_, folder_ / "copy.db", seen_, first);
}

void expect_whole_journal(const Station& station, std::int64_t first) {
    const auto summary = station.expect_sound_journal(first);
    EXPECT_GT(summary.rows, 0);
    EXPECT_EQ(summary.unfinished, 0);
    ASSERT_FALSE(station.seen().empty());
    if (first == 1) {
        EXPECT_EQ(summary.rows, station.seen().rbegin()->first) << "each is published";
    }
}

int free_port() {
    const int fd = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    int port = -1;
    if (bind(fd, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
        getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) == 0) {
        port = ntohs(address.sin_port);
    }
    close(fd);
    return port;
}

std::vector<std::string> gst_launch(const std::string& pipeline) {
    std::vector<std::string> command = {"gst-launch-1.0", "--quiet"};
    std::istringstream words(pipeline);
    for (std::string word; words >> word;) command.push_back(word);
    return command;
}

}  // namespace chorus
