// The real programs: a model trained by chorus-train, recordings with known calls, chorusd over real sockets.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "model/bundle.h"
#include "streaming/publisher.h"
#include "tests/end_to_end/field.h"
#include "tests/end_to_end/process.h"
#include "tests/end_to_end/scrape.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;
using testing::HasSubstr;
namespace fs = std::filesystem;

constexpr int kRate = 48'000;
constexpr double kSeconds = 13.5;
const std::vector<Call> kCalls = {
    {0, 2.0, 4.0, "RISER"}, {1, 6.0, 8.0, "STEADY"}, {2, 3.0, 5.0, "TRILLER"}, {2, 9.5, 11.5, "RISER"}};

class EndToEnd : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder_ = fs::temp_directory_path() / fmt::format("chorus_end_to_end.{}", getpid());
        fs::create_directories(folder_);
        write_dataset(folder_ / "dataset", 360, 90);
        const auto trained = run_program({CHORUS_TRAIN, "fit",   "--dataset",      folder_ / "dataset",
                                          "--out",      model(), "--architecture", "small",
                                          "--hop",      "512",   "--mels",         "64",
                                          "--epochs",   "24",    "--batch",        "16",
                                          "--seed",     "1",     "--mix",          "mix2",
                                          "--threads",  "1"},
                                         folder_, 300s);
        ASSERT_EQ(trained.status, 0) << trained.err;
        const auto report = json::parse(trained.out);
        std::cout << "trained: " << report.dump().substr(0, 400) << std::endl;
        write_recording(recording(), 4, kRate, kSeconds, kCalls);
    }
    static void TearDownTestSuite() { fs::remove_all(folder_); }

    static fs::path model() { return folder_ / "model.safetensors"; }
    static fs::path recording() { return folder_ / "POND_20261123_021400.wav"; }

    static fs::path config(const std::string& source, const std::string& rest = "",
                           const std::string& publish = "tcp://127.0.0.1:*", const std::string& http = "127.0.0.1:0") {
        static int number = 0;
        const auto path = folder_ / fmt::format("chorusd.{}.toml", ++number);
        std::ofstream(path) << fmt::format(
            "[station]\nname = 'pond-7'\n[model]\nbundle = '{}'\n[analysis]\nhop_seconds = "
            "0.5\n[detection]\nmin_windows = 2\nthreshold_scale = 1.5\n[publish]\nendpoint = '{}'\n"
            "scores = true\nstatus_seconds = 0.2\n[journal]\npath = '{}'\n[replay]\nendpoint = 'tcp://127.0.0.1:*'\n"
            "[http]\nlisten = '{}'\n[[source]]\nname = 'array'\n{}\n{}\n",
            model().string(), publish, (path.string() + ".db"), http, source, rest);
        return path;
    }

    static Finished detect(std::vector<std::string> arguments) {
        std::vector<std::string> command = {CHORUSD,     "detect", "--model",           model(),
                                            "--hop",     "0.5",    "--min-windows",     "2",
                                            "--station", "pond-7", "--threshold-scale", "1.5"};
        command.insert(command.end(), arguments.begin(), arguments.end());
        return run_program(command, folder_);
    }

    // One clear line, no crash.
    static void expect_one_line(const Finished& finished, const std::string& holds) {
        EXPECT_EQ(finished.status, 1) << finished.err;
        EXPECT_EQ(lines_of(finished.err).size(), 1U) << finished.err;
        EXPECT_THAT(finished.err, HasSubstr(holds));
    }

    static inline fs::path folder_;
};

// What an event says, less what the wall clock and the stream add.
json essence(json event) {
    for (const char* key : {"seq", "latency_ms", "file", "source", "id", "clock"}) event.erase(key);
    return event;
}

void expect_calls(const std::vector<json>& closed) {
    std::set<std::size_t> found;
    for (const auto& event : closed) {
        bool known = false;
        for (std::size_t i = 0; i < kCalls.size(); ++i) {
            const auto& call = kCalls[i];
            if (event["channel"] != call.channel || event["code"] != call.code) continue;
            if (event["start_sample"].get<double>() >= call.end_s * kRate ||
                event["end_sample"].get<double>() <= call.start_s * kRate)
                continue;
            found.insert(i);
            known = true;
        }
        EXPECT_TRUE(known) << "no such call: " << event.dump();
    }
    for (std::size_t i = 0; i < kCalls.size(); ++i)
        EXPECT_TRUE(found.contains(i)) << "not found: " << kCalls[i].code << " at " << kCalls[i].start_s;
}

TEST_F(EndToEnd, TheServicePublishesWhatDetectFindsAndItsBooksBalance) {
    Process service(
        {CHORUSD, "run", "--config", config(fmt::format("file = '{}'\nrealtime = true", recording().string()))},
        folder_);
    const auto endpoint = service.wait_for_line("publishing on ", 60s);
    ASSERT_TRUE(endpoint) << service.err();
    Subscriber subscriber(*endpoint, "");
    const auto http = service.wait_for_line("serving HTTP on 127.0.0.1:", 60s);
    ASSERT_TRUE(http) << service.err();

    std::vector<std::string> bodies;
    std::vector<json> closed;
    std::map<std::string, std::string> phases;
    json last_status;
    int scores = 0;
    int scrapes = 0;
    std::int64_t seq = 0;
    Message message;
    while (subscriber.receive(message, 2s)) {  // a status comes every 0.2 s, and a last one at the end
        bodies.push_back(message.body);
        const auto body = json::parse(message.body);
        if (message.topic == "status.pond-7") {
            last_status = body;
            const Scrape scrape(http_get(std::stoi(*http), "/metrics"));
            EXPECT_EQ(scrape.imbalance(), "");
            scrapes += static_cast<int>(scrape.channels());
        } else if (message.topic.starts_with("scores.pond-7.array.")) {
            ++scores;
        } else {
            EXPECT_EQ(message.topic, fmt::format("event.pond-7.array.{}.{}", body["channel"].get<int>(),
                                                 body["code"].get<std::string>()));
            EXPECT_EQ(body["seq"].get<std::int64_t>(), ++seq) << "one apart, in order";
            auto& phase = phases[body["id"]];
            EXPECT_EQ(phase.empty(), body["phase"] == "open");
            EXPECT_NE(phase, "close");
            phase = body["phase"];
            if (body["phase"] == "close") closed.push_back(body);
        }
    }
    EXPECT_THAT(service.err(), testing::Not(HasSubstr("error")));
    const auto ended = service.wait(10s);
    ASSERT_TRUE(ended) << "a station whose files have ended ends";
    EXPECT_EQ(ended->status, 0) << ended->err;
    EXPECT_TRUE(ended->out.empty()) << "stdout is for machines";
    EXPECT_GT(scrapes, 20);
    EXPECT_EQ(scores, 4 * 22) << "(13.5 s - 3 s) / 0.5 s + 1 windows on each channel";
    EXPECT_EQ(last_status["seq"], seq);
    for (const auto& channel : last_status["sources"][0]["channels"]) {
        EXPECT_EQ(channel["samples_in"], static_cast<int>(kRate * kSeconds));
        EXPECT_EQ(channel["samples_analysed"], channel["samples_in"]);
    }
    for (const auto& [id, phase] : phases) EXPECT_EQ(phase, "close") << id;
    expect_calls(closed);
    for (const auto& event : closed)
        EXPECT_THAT(event["start"].get<std::string>(), testing::StartsWith("2026-11-23T02:14:"))
            << "from the file's name";

    // The same recording through `detect`: the same events, bit for bit.
    const auto detected = detect({recording()});
    ASSERT_EQ(detected.status, 0) << detected.err;
    std::set<std::string> ours, theirs;
    for (const auto& line : lines_of(detected.out)) ours.insert(essence(json::parse(line)).dump());
    for (const auto& event : closed) theirs.insert(essence(event).dump());
    EXPECT_EQ(ours, theirs);

    // Every message is as the schemas say.
    for (const auto& line : lines_of(detected.out)) bodies.push_back(line);
    const auto messages = folder_ / "messages.jsonl";
    std::ofstream file(messages);
    for (const auto& body : bodies) file << body << '\n';
    file.close();
    const auto valid =
        run_program({"/bin/sh", "-c",
                     fmt::format("/usr/bin/python3 {} {} < {}", CHORUS_VALIDATE, CHORUS_SCHEMAS, messages.string())},
                    folder_);
    EXPECT_EQ(valid.status, 0) << valid.err;
    EXPECT_EQ(valid.out, std::to_string(bodies.size()) + "\n");
}

TEST_F(EndToEnd, TheServiceGroupsChannelsAsDetectDoes) {
    const auto sound = folder_ / "THREE_20261123_021400.wav";
    write_recording(sound, 3, kRate, 9.0, {{0, 3.0, 5.0, "RISER"}, {2, 3.1, 5.1, "RISER"}});
    const auto path = config(fmt::format("file = '{}'\nrealtime = true", sound.string()));
    std::ifstream written(path);
    std::string text((std::istreambuf_iterator<char>(written)), {});
    text.replace(text.find("[detection]\n"), 12, "[detection]\ngroup_seconds = 2\n");
    std::ofstream(path) << text;

    // Which channels' events are said to share a group, and whose is its first, by channel and start.
    const auto groups = [](const std::vector<json>& events) {
        const auto key = [](const json& event) { return event["channel"].dump() + "@" + event["start_sample"].dump(); };
        std::map<std::string, std::string> keys;
        for (const auto& event : events) keys[event["id"]] = key(event);
        std::map<std::string, std::string> group_of;
        for (const auto& event : events)
            group_of[key(event)] = keys[event["group"]] + ", strongest " + keys[event["group_strongest"]];
        return group_of;
    };
    Process service({CHORUSD, "run", "--config", path}, folder_);
    const auto endpoint = service.wait_for_line("publishing on ", 60s);
    ASSERT_TRUE(endpoint) << service.err();
    Subscriber subscriber(*endpoint, "");
    std::vector<json> closed;
    Message message;
    while (subscriber.receive(message, 2s)) {  // a status comes every 0.2 s, and a last one at the end
        const auto body = json::parse(message.body);
        if (body["schema"] == "chorus.event/1" && body["phase"] == "close") closed.push_back(body);
    }
    ASSERT_EQ(closed.size(), 2U) << service.err();
    EXPECT_EQ(closed[0]["group"], closed[1]["group"]);

    const auto detected = detect({"--group", "2", sound});
    ASSERT_EQ(detected.status, 0) << detected.err;
    std::vector<json> found;
    for (const auto& line : lines_of(detected.out)) found.push_back(json::parse(line));
    EXPECT_EQ(groups(found), groups(closed));
}

TEST_F(EndToEnd, AStopSignalEndsALiveServiceWithinTwoSeconds) {
    Process service(
        {CHORUSD, "--config",
         config("launch = 'audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,channels=4,rate=48000'")},
        folder_);
    const auto endpoint = service.wait_for_line("publishing on ", 60s);
    ASSERT_TRUE(endpoint) << service.err();
    const auto http = service.wait_for_line("serving HTTP on 127.0.0.1:", 60s);
    ASSERT_TRUE(http);
    Subscriber subscriber(*endpoint, "scores.");
    Message message;
    ASSERT_TRUE(subscriber.receive(message, 30s)) << service.err();
    EXPECT_THAT(http_get(std::stoi(*http), "/healthz"), testing::StartsWith("HTTP/1.1 200 "));
    EXPECT_THAT(http_get(std::stoi(*http), "/readyz"), testing::StartsWith("HTTP/1.1 200 "));
    const auto begun = std::chrono::steady_clock::now();
    service.signal(SIGTERM);
    const auto ended = service.wait(10s);
    ASSERT_TRUE(ended);
    EXPECT_EQ(ended->status, 0) << ended->err;
    EXPECT_LT(std::chrono::steady_clock::now() - begun, 2s);
}

TEST_F(EndToEnd, ListenPrintsMessagesAsTheyCome) {
    Process service({CHORUSD, "run", "--config",
                     config("launch = 'audiotestsrc is-live=true ! audio/x-raw,channels=1,rate=16000'")},
                    folder_);
    const auto endpoint = service.wait_for_line("publishing on ", 60s);
    ASSERT_TRUE(endpoint) << service.err();
    const auto heard =
        run_program({CHORUSD, "listen", *endpoint, "--topic", "status.", "--count", "2", "--timeout", "30"}, folder_);
    EXPECT_EQ(heard.status, 0) << heard.err;
    ASSERT_EQ(lines_of(heard.out).size(), 2U);
    EXPECT_EQ(json::parse(lines_of(heard.out)[0])["schema"], "chorus.status/1");
    expect_one_line(run_program({CHORUSD, "listen", *endpoint, "--topic", "nothing.", "--timeout", "0.2"}, folder_),
                    "nothing came for 0.2 s");
}

TEST_F(EndToEnd, ListenPrintsOneLineAMessageWhateverAPublisherSends) {
    Publisher publisher("tcp://127.0.0.1:*");
    const std::vector<std::string> bodies = {
        "",
        "\xff\xfe",
        std::string(100'000, '['),
        "[7]",
        R"({"schema": 7})",
        R"({"schema": "chorus.event/1"})",
        R"({"schema": "chorus.event/1", "start": 7, "peak_score": "high"})",
        R"({"schema": "chorus.event/1", "start": null, "station": "a\nb\u001b[2J"})",
        "two\nlines\x1b[2J"};
    for (const std::string format : {"text", "jsonl"}) {
        const auto count = std::to_string(bodies.size());
        Process listener({CHORUSD, "listen", publisher.endpoint(), "--format", format, "--count", count}, folder_);
        while (!listener.wait(5ms)) {
            for (const auto& body : bodies) publisher.send({"event.a\x1b", body});
        }
        const auto ended = listener.wait(1s);
        EXPECT_EQ(ended->status, 0) << ended->err;
        EXPECT_EQ(std::count(ended->out.begin(), ended->out.end(), '\n'), static_cast<long>(bodies.size()));
        EXPECT_THAT(ended->out, testing::Not(HasSubstr("\x1b")));
    }
}

TEST_F(EndToEnd, DetectWritesEveryFormat) {
    const auto csv = detect({"--format", "csv", recording()});
    EXPECT_EQ(csv.status, 0);
    EXPECT_EQ(lines_of(csv.out).size(), 1 + kCalls.size());
    const auto raven = detect({"--format", "raven", recording()});
    EXPECT_EQ(raven.status, 0);
    ASSERT_EQ(lines_of(raven.out).size(), 1 + kCalls.size());
    EXPECT_THAT(raven.out, HasSubstr("1\tSpectrogram 1\t1\t"));
}

TEST_F(EndToEnd, BadRecordingsAreOneLineEachAndTheOthersAreAnalysed) {
    std::ofstream(folder_ / "empty.wav");
    std::ofstream(folder_ / "text.wav") << "this is no sound at all\n";
    write_recording(folder_ / "short.wav", 1, 22'050, 0.14, {});
    std::ifstream whole(recording(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(whole)), {});
    std::ofstream(folder_ / "header.wav", std::ios::binary) << bytes.substr(0, 30);
    const auto mixed = detect({folder_ / "empty.wav", folder_ / "text.wav", folder_ / "absent.wav",
                               folder_ / "short.wav", folder_ / "header.wav", recording()});
    EXPECT_EQ(mixed.status, 1);
    const auto lines = lines_of(mixed.err);
    ASSERT_EQ(lines.size(), 5U) << mixed.err;
    EXPECT_THAT(lines[0], HasSubstr("empty.wav: "));
    EXPECT_THAT(lines[1], HasSubstr("text.wav: "));
    EXPECT_THAT(lines[2], HasSubstr("absent.wav: "));
    EXPECT_THAT(lines[3], HasSubstr("short.wav: 0.14 s of sound is less than the model's window of 3 s"));
    EXPECT_THAT(lines[4], HasSubstr("header.wav: "));
    EXPECT_EQ(lines_of(mixed.out).size(), kCalls.size());
}

TEST_F(EndToEnd, BadBundlesAreRefusedWithOneLine) {
    std::ifstream whole(model(), std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(whole)), {});
    const auto truncated = folder_ / "truncated.safetensors";
    std::ofstream(truncated, std::ios::binary) << bytes.substr(0, bytes.size() / 2);
    expect_one_line(run_program({CHORUSD, "detect", "--model", truncated, recording()}, folder_),
                    "truncated.safetensors: ");

    auto bundle = read_bundle(model());
    bundle.labels.pop_back();
    bundle.thresholds.pop_back();
    const auto fewer = folder_ / "fewer.safetensors";
    EXPECT_THROW(write_bundle(fewer, bundle), std::exception) << "such a bundle is not even written";
    expect_one_line(run_program({CHORUSD, "detect", "--model", folder_ / "absent.safetensors", recording()}, folder_),
                    "absent.safetensors: ");
}

TEST_F(EndToEnd, CheckSaysEveryFaultWithItsPlace) {
    const auto good = run_program({CHORUSD, "check", "--config", config("alsa = 'hw:0'")}, folder_);
    EXPECT_EQ(good.status, 0) << good.err;
    EXPECT_THAT(good.out, HasSubstr("ok: station pond-7, 1 source(s)"));
    const auto unwise = config("alsa = 'hw:0'", "[detection.thresholds]\nNOBODY = 0.5");
    const auto warned = run_program({CHORUSD, "check", "--config", unwise}, folder_);
    EXPECT_EQ(warned.status, 0) << warned.err;
    EXPECT_THAT(warned.err, HasSubstr("detection.thresholds.NOBODY: the model has no such class"));
    const auto bad = config("alsa = 'hw:0'\nrealtime = 1\n[[source]]\nname = 'a b'",
                            "[detection.thresholds]\nNOBODY = 2.0\n[log]\nlevel = 'loud'");
    const auto faults = run_program({CHORUSD, "check", "--config", bad}, folder_);
    EXPECT_EQ(faults.status, 1);
    const auto lines = lines_of(faults.err);
    ASSERT_EQ(lines.size(), 6U) << faults.err;
    for (const auto& line : lines) EXPECT_THAT(line, testing::StartsWith(bad.string() + ":"));
    EXPECT_THAT(faults.err, HasSubstr("detection.thresholds.NOBODY: 2 must be from 0 to 1"));
}

TEST_F(EndToEnd, ATakenPortIsOneLine) {
    Publisher taken("tcp://127.0.0.1:*");
    const std::string source = "launch = 'audiotestsrc is-live=true'";
    expect_one_line(run_program({CHORUSD, "run", "--config", config(source, "", taken.endpoint())}, folder_),
                    taken.endpoint());
    const auto port = taken.endpoint().substr(taken.endpoint().rfind(':') + 1);
    expect_one_line(
        run_program({CHORUSD, "run", "--config", config(source, "", "tcp://127.0.0.1:*", "127.0.0.1:" + port)},
                    folder_),
        "127.0.0.1:" + port);
}

TEST_F(EndToEnd, WrongUsageIsStatusTwo) {
    EXPECT_EQ(run_program({CHORUSD}, folder_).status, 2);
    EXPECT_EQ(run_program({CHORUSD, "nonsense"}, folder_).status, 2);
    EXPECT_EQ(run_program({CHORUSD, "detect"}, folder_).status, 2);
    EXPECT_EQ(run_program({CHORUS_TRAIN, "nonsense"}, folder_).status, 2);
    EXPECT_EQ(run_program({CHORUSD, "--help"}, folder_).status, 0);
    EXPECT_EQ(run_program({CHORUSD, "detect", "--help"}, folder_).status, 0);
    const auto version = run_program({CHORUSD, "--version"}, folder_);
    EXPECT_EQ(version.status, 0);
    EXPECT_THAT(version.out, HasSubstr("LibTorch"));
}

}  // namespace
}  // namespace chorus
