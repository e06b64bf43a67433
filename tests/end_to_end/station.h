#pragma once
// A station to do harm to: its folder, its configuration and the real chorusd, all of whose books are held.

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "streaming/publisher.h"
#include "tests/end_to_end/journal_check.h"
#include "tests/end_to_end/process.h"
#include "tests/end_to_end/scrape.h"

namespace chorus {

/// A live source of its own thread and pipeline that nothing is done to: it must go on whatever befalls the others.
inline constexpr const char* kSteady =
    "[[source]]\nname = 'steady'\n"
    "launch = 'audiotestsrc is-live=true wave=pink-noise ! audio/x-raw,rate=16000,channels=1'\n";

/// The starter bundle, cut to windows of 1 s. One class (OWL) has the threshold 0 here and each window updates its
/// event, so each channel gives 4 event messages a second, from 1 s after its sound began.
/// Every poll reads all messages and scrapes /metrics; a test fails where the books of a channel don't balance, or a
/// sequence number that the subscriber sees does not follow the one before.
class Station {
  public:
    /// Writes the configuration: `sources` are its [[source]] sections; `more` goes on in [detection.thresholds] or
    /// begins sections.
    explicit Station(const std::string& sources, const std::string& more = "");
    ~Station();
    Station(const Station&) = delete;
    Station& operator=(const Station&) = delete;

    const std::filesystem::path& folder() const { return folder_; }
    std::filesystem::path config() const { return folder_ / "chorusd.toml"; }
    std::filesystem::path bundle() const { return folder_ / "model.safetensors"; }
    std::filesystem::path journal() const { return journal_; }
    /// Where the journal is from now on.
    void move_journal(const std::filesystem::path& path);
    void write_config(const std::string& sources, const std::string& more = "");
    /// From the next start on this candidate runs in the model's shadow.
    void run_in_shadow(const std::string& candidate);
    /// From the next start on it answers replay requests, at the same address each time, as it publishes at `publish`.
    void stay_at(const std::string& publish, const std::string& replay);

    /// Starts chorusd, with `environment` (NAME=value), and waits until it publishes and serves HTTP; throws when it
    /// does not.
    void start(const std::vector<std::string>& environment = {});
    /// Starts it and returns at once; all that can be done with it then is kill().
    void start_without_waiting(const std::vector<std::string>& environment = {});
    /// SIGTERM; expects a clean end within 2 s and reads the last messages.
    void stop();
    void kill();
    bool is_running() { return daemon_ && !daemon_->wait(std::chrono::milliseconds(0)); }
    /// The last chorusd started.
    Process& daemon() { return *daemon_; }
    /// Where it publishes.
    const std::string& endpoint() const { return endpoint_; }

    /// Polls until `holds`; fails the test after `limit`.
    bool until(const std::string& what, const std::function<bool(const Scrape&)>& holds,
               std::chrono::seconds limit = std::chrono::seconds(30));
    /// Polls until the subscriber has seen so many more events of the source.
    bool until_events(const std::string& source, int more, std::chrono::seconds limit = std::chrono::seconds(30));
    /// Polls until the log says it, from now on or before.
    bool until_logged(const std::string& text, std::chrono::seconds limit = std::chrono::seconds(30));
    /// The scrape before, once more.
    const Scrape& last_scrape() const { return scrape_; }

    /// What /healthz answers, header and body.
    std::string health() const { return http_get(http_port_, "/healthz"); }

    /// What the subscriber has seen: bodies by seq.
    const std::map<std::int64_t, nlohmann::json>& seen() const { return seen_; }
    /// The bodies of what a candidate would have sent.
    const std::vector<nlohmann::json>& seen_of_shadow() const { return seen_of_shadow_; }
    const nlohmann::json& last_status() const { return last_status_; }

    /// Between runs: every event is in the journal once, with no hole in seq, as the subscriber saw it, the phases of
    /// each in order. Looks at events from `first` on (the earlier are elsewhere).
    JournalSummary expect_sound_journal(std::int64_t first = 1) const;

  private:
    void replace_in_config(const std::string& before, const std::string& after) const;
    void poll(std::chrono::milliseconds patience);
    void read_message(const Message& message);

    std::filesystem::path folder_;
    std::filesystem::path journal_;
    std::unique_ptr<Process> daemon_;
    std::unique_ptr<Subscriber> subscriber_;
    std::string endpoint_;
    int http_port_ = 0;
    Scrape scrape_;
    std::map<std::int64_t, nlohmann::json> seen_;
    std::vector<nlohmann::json> seen_of_shadow_;
    std::optional<std::int64_t> last_seq_;  // of this run
    nlohmann::json last_status_;
    std::map<std::string, int> events_by_source_;
};

/// After a clean stop: the journal is sound, holds something, all its events are closed, and nothing in it is younger
/// than what the subscriber saw last.
void expect_whole_journal(const Station& station, std::int64_t first = 1);

/// A port of 127.0.0.1 that is free now.
int free_port();

/// A program of the system that makes sound: gst-launch-1.0 with this pipeline.
std::vector<std::string> gst_launch(const std::string& pipeline);

}  // namespace chorus
