#include "daemon/feed.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "config/program.h"
#include "daemon/json_text.h"
#include "daemon/time_format.h"
#include "streaming/sample_clock.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr std::size_t kEvents = 0;  // lanes of the inbox: a flood of others never costs an event
constexpr std::size_t kOthers = 1;
constexpr std::size_t kAtOnce = 256;  // messages a turn; events of one turn share a commit
constexpr auto kTurn = 1000ms;        // the longest time between turns
constexpr auto kRetry = 1000ms;       // between attempts to write a journal that refuses
constexpr auto kComplaint = 60s;      // between log lines on it
constexpr auto kMostAtATime = 1s;     // of publishing what waits, before other work has its turn
constexpr auto kStopPatience = 60s;   // for writing what waits at the end; systemd's TimeoutStopSec is longer
constexpr auto kHousekeeping = 10s;   // between looks at retention and free space; twice that while events keep coming

// A scores message of a window.
std::string scores_json(const std::string& station, const Bundle& bundle, const std::string& source,
                        const WindowInfo& window, std::span<const float> scores) {
    nlohmann::ordered_json json;
    json["schema"] = "chorus.scores/1";
    json["station"] = station;
    json["source"] = source;
    json["channel"] = window.channel;
    json["start_sample"] = window.start_sample;
    json["end_sample"] = window.end_sample;
    json["sample_rate_hz"] = window.sample_rate_hz;
    json["end"] =
        window.end_time ? nlohmann::ordered_json(to_iso8601(*window.end_time)) : nlohmann::ordered_json(nullptr);
    json["model"] = bundle.id;
    auto& by_code = json["scores"] = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < scores.size(); ++i) {
        by_code[bundle.labels[i].code] = std::round(static_cast<double>(scores[i]) * 1e6) / 1e6;
    }
    return to_text(json);
}

}  // namespace

Feed::Feed(FeedOptions options, Messaging& messaging, Metrics& metrics)
    : options_(std::move(options)),
      metrics_(metrics),
      publisher_(messaging, options_.endpoint),
      endpoint_(publisher_.endpoint()),
      inbox_(2, options_.most_waiting),
      last_turn_(std::chrono::steady_clock::now()) {
    if (!options_.journal) return;
    journal_.emplace(*options_.journal);
    last_seq_ = journal_->last_seq();
}

Feed::~Feed() {
    stop();
}

void Feed::start(std::function<std::vector<SourceReport>()> sources, std::function<ModelStatus()> model) {
    sources_ = std::move(sources);
    model_ = std::move(model);
    thread_ = std::jthread([this] {
        name_this_thread("feed");
        try {
            run();
        } catch (...) {
            failure_ = std::current_exception();
            failed_ = true;
        }
    });
}

void Feed::stop() {
    inbox_.close();
    if (thread_.joinable()) thread_.join();
}

void Feed::rethrow_failure() const {
    if (failed_) std::rethrow_exception(failure_);
}

std::string Feed::journal_fault() const {
    const std::lock_guard lock(mutex_);
    return journal_fault_;
}

void Feed::on_event(Event event) {
    if (inbox_.push_drop_oldest(kEvents, std::move(event))) count_dropped();
}

void Feed::on_scores(const std::string& source, const Window& window, std::span<const float> scores) {
    if (!options_.scores) return;
    Scores item{.source = source, .window = window, .model = window.model, .scores = {scores.begin(), scores.end()}};
    if (inbox_.push_drop_oldest(kOthers, std::move(item))) metrics_.messages_dropped.Increment();
}

// It gets no number and doesn't wait for the journal.
void Feed::on_shadow_event(Event event) {
    event.latency_ms =
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - event.sound_received).count();
    Message message{"shadow." + topic_of(event), to_json(event)};
    if (inbox_.push_drop_oldest(kOthers, std::move(message))) metrics_.messages_dropped.Increment();
}

void Feed::run() {
    publish_waiting(kMostAtATime);
    // The first status comes at once: whoever listens learns that the station is there.
    auto next_status = std::chrono::steady_clock::now();
    while (!inbox_.drained()) {
        const auto now = std::chrono::steady_clock::now();
        last_turn_ = now;
        if (now >= next_status || status_soon_.exchange(false)) {
            publish({"status." + options_.station, status_json()});
            next_status = now + options_.status_interval;
        }
        const auto idle = waiting_.empty() || now < next_attempt_
                              ? std::chrono::ceil<std::chrono::milliseconds>(next_status - now)
                              : 1ms;
        for (auto& item : inbox_.pop_batch(kAtOnce, 0us, std::clamp(idle, 1ms, kTurn))) take(item);
        publish_waiting(kMostAtATime);
        keep_house(std::chrono::steady_clock::now());
    }
    next_attempt_ = {};
    publish_waiting(kStopPatience);
    if (!waiting_.empty())
        spdlog::error("journal: {} events could not be written and are lost: {}", waiting_.size(),
                      journal_fault().empty() ? "the disk is too slow" : journal_fault());
    publish({"status." + options_.station, status_json()});  // the closed books
}

void Feed::take(Item& item) {
    if (auto* event = std::get_if<Event>(&item)) {
        if (waiting_.size() >= options_.most_waiting) {
            waiting_.pop_front();
            count_dropped();
        }
        waiting_.push_back(std::move(*event));
        return;
    }
    if (const auto* message = std::get_if<Message>(&item)) return publish(*message);
    const auto& [source, window, model, scores] = std::get<Scores>(item);
    publish({fmt::format("scores.{}.{}.{}", options_.station, source, window.channel),
             scores_json(options_.station, model->bundle(), source, window, scores)});
}

// Journal first, then the socket: who has seen an event can always ask for those before it.
void Feed::publish_waiting(std::chrono::milliseconds most) {
    const auto begun = std::chrono::steady_clock::now();
    auto now = begun;
    if (now < next_attempt_) return;
    try {
        begin_journal();
        for (; !waiting_.empty() && now - begun < most; now = std::chrono::steady_clock::now()) {
            publish_some(now);
            last_turn_ = std::chrono::steady_clock::now();
        }
    } catch (const SqliteError& error) {
        metrics_.journal_errors.Increment();
        metrics_.journal_waiting.Set(static_cast<double>(waiting_.size()));
        note_journal_fault(error.what());
        next_attempt_ = std::chrono::steady_clock::now() + kRetry;
        return;
    }
    metrics_.journal_waiting.Set(static_cast<double>(waiting_.size()));
    if (waiting_.empty()) note_journal_fault("");
}

void Feed::publish_some(MonotonicTime now) {
    const std::size_t count = std::min(waiting_.size(), kAtOnce);
    std::vector<JournalEntry> entries;
    for (std::size_t i = 0; i < count; ++i) {
        Event& event = waiting_[i];
        event.seq = last_seq_ + 1 + static_cast<std::int64_t>(i);
        event.latency_ms = std::chrono::duration<double, std::milli>(now - event.sound_received).count();
        entries.push_back({event.seq, topic_of(event), to_json(event)});
    }
    journal(entries);
    for (std::size_t i = 0; i < count; ++i) {
        publish({std::move(entries[i].topic), std::move(entries[i].body)});
        const std::chrono::duration<double> latency = std::chrono::steady_clock::now() - waiting_[i].sound_received;
        metrics_.sound_to_publish_seconds.Observe(latency.count());
    }
    waiting_.erase(waiting_.begin(), waiting_.begin() + static_cast<std::ptrdiff_t>(count));
}

void Feed::journal(std::span<const JournalEntry> entries) {
    if (journal_) {
        journal_->append(entries, utc_now(), system_clock_is_synced());
        for (const auto& line : journal_->news()) spdlog::error("{}", line);
    }
    last_seq_ = entries.back().seq;
    metrics_.journal_last_seq.Set(static_cast<double>(last_seq_));
}

// A change is said at once, a fault that stays once an interval.
void Feed::note_journal_fault(const std::string& fault) {
    {
        const std::lock_guard lock(mutex_);
        if (fault.empty() && journal_fault_.empty()) return;
        if (fault.empty() != journal_fault_.empty()) status_soon_ = true;
        journal_fault_ = fault;
    }
    const auto now = std::chrono::steady_clock::now();
    if (fault.empty()) {
        spdlog::info("journal: can be written again; what waited is published");
        next_complaint_ = {};
    } else if (now >= next_complaint_) {
        spdlog::error("journal: {}; {} events wait in memory and are not published", fault, waiting_.size());
        next_complaint_ = now + kComplaint;
    }
}

// Before any event of this run gets its number, those that a kill or a loss of power left open are closed as they were
// last known.
void Feed::begin_journal() {
    if (!journal_ || journal_begun_) return;
    journal_->open();
    for (const auto& line : journal_->news()) spdlog::error("{}", line);
    last_seq_ = journal_->last_seq();
    std::vector<JournalEntry> entries;
    for (auto& entry : journal_->unfinished()) {
        auto json = nlohmann::ordered_json::parse(entry.body);
        entry.seq = last_seq_ + 1 + static_cast<std::int64_t>(entries.size());
        json["phase"] = "close";
        json["seq"] = entry.seq;
        json["latency_ms"] = nullptr;
        entry.body = to_text(json);
        entries.push_back(std::move(entry));
    }
    if (!entries.empty()) {
        for (std::size_t begin = 0; begin < entries.size(); begin += kAtOnce)
            journal(std::span(entries).subspan(begin, std::min(kAtOnce, entries.size() - begin)));
        spdlog::info("journal: closed {} events that the last run left open", entries.size());
        for (auto& entry : entries) publish({std::move(entry.topic), std::move(entry.body)});
    }
    journal_begun_ = true;
}

void Feed::count_dropped() {
    ++events_dropped_;
    metrics_.events_dropped.Increment();
}

// Comes after the publishing, and not while more waits, unless more always does.
void Feed::keep_house(MonotonicTime now) {
    if (now < next_housekeeping_ || (inbox_.size() > 0 && now < next_housekeeping_ + kHousekeeping)) return;
    next_housekeeping_ = now + kHousekeeping;
    say_dropped(now);
    if (!journal_) return;
    if (journal_begun_) {
        try {
            // A chunk a turn while there is more, so that events never wait for long.
            if (journal_->trim(utc_now(), system_clock_is_synced()) == Journal::kTrimRows) next_housekeeping_ = now;
            journal_->checkpoint();
            const auto stats = journal_->stats();
            metrics_.journal_events.Set(static_cast<double>(stats.events));
            metrics_.journal_bytes.Set(static_cast<double>(stats.bytes));
        } catch (const SqliteError& error) {
            metrics_.journal_errors.Increment();
            spdlog::debug("journal: cannot be trimmed: {}", error.what());
        }
    }
    std::error_code error;
    const auto space = std::filesystem::space(std::filesystem::absolute(options_.journal->path).parent_path(), error);
    if (!error) metrics_.disk_free_bytes.Set(static_cast<double>(space.available));
}

void Feed::say_dropped(MonotonicTime now) {
    const std::int64_t dropped = events_dropped_;
    if (dropped == dropped_said_ || now < next_drop_complaint_) return;
    spdlog::error("journal: {} events are lost, {} since the start: more than {} waited for it",
                  dropped - dropped_said_, dropped, options_.most_waiting);
    dropped_said_ = dropped;
    next_drop_complaint_ = now + kComplaint;
}

void Feed::publish(const Message& message) {
    publisher_.send(message);
    metrics_.messages_published.Increment();
}

std::string Feed::status_json() const {
    return to_json(StationStatus{.station = options_.station,
                                 .time = utc_now(),
                                 .seq = last_seq_,
                                 .model = model_(),
                                 .events_waiting = waiting_.size(),
                                 .events_dropped = events_dropped_,
                                 .journal_fault = journal_fault(),
                                 .sources = sources_()});
}

}  // namespace chorus
