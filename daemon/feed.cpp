#include "daemon/feed.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "config/program.h"
#include "daemon/time_format.h"
#include "model/bundle.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

// ZeroMQ never makes the thread wait, so this is reached only when the machine is starved.
constexpr std::size_t kInboxItems = 65'536;

// Errors may quote file names, which need not be UTF-8.
std::string to_text(const nlohmann::ordered_json& json) {
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

}  // namespace

Feed::Feed(FeedOptions options, const Bundle& bundle, Metrics& metrics)
    : options_(std::move(options)),
      bundle_(bundle),
      metrics_(metrics),
      publisher_(options_.endpoint),
      endpoint_(publisher_.endpoint()),
      inbox_(1, kInboxItems) {}

Feed::~Feed() {
    stop();
}

void Feed::start(std::function<std::vector<SourceReport>()> sources, std::vector<std::string> source_names) {
    sources_ = std::move(sources);
    source_names_ = std::move(source_names);
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

void Feed::on_event(Event event) {
    put({.event = std::move(event), .message = {}});
}

void Feed::on_scores(const Window& window, std::span<const float> scores) {
    if (!options_.scores) return;
    nlohmann::ordered_json json;
    json["schema"] = "chorus.scores/1";
    json["station"] = options_.station;
    json["source"] = source_names_[window.source];
    json["channel"] = window.channel;
    json["start_sample"] = window.start_sample;
    json["end_sample"] = window.end_sample;
    json["sample_rate_hz"] = window.sample_rate_hz;
    json["end"] =
        window.end_time ? nlohmann::ordered_json(to_iso8601(*window.end_time)) : nlohmann::ordered_json(nullptr);
    json["model"] = bundle_.id;
    auto& by_code = json["scores"] = nlohmann::ordered_json::object();
    for (std::size_t i = 0; i < scores.size(); ++i) {
        by_code[bundle_.labels[i].code] = std::round(static_cast<double>(scores[i]) * 1e6) / 1e6;
    }
    put({.event = {},
         .message = {fmt::format("scores.{}.{}.{}", options_.station, source_names_[window.source], window.channel),
                     to_text(json)}});
}

void Feed::put(Item item) {
    if (inbox_.push_drop_oldest(0, std::move(item))) metrics_.messages_dropped.Increment();
}

void Feed::run() {
    // The first status comes at once: whoever listens learns that the station is there.
    auto next_status = std::chrono::steady_clock::now();
    while (!inbox_.drained()) {
        const auto now = std::chrono::steady_clock::now();
        if (now >= next_status) {
            publish_status();
            next_status = now + options_.status_interval;
        }
        const auto idle = std::chrono::ceil<std::chrono::milliseconds>(next_status - now);
        for (auto& item : inbox_.pop_batch(256, 0us, std::max(idle, 1ms))) {
            if (item.message.topic.empty()) {
                publish_event(item.event);
            } else {
                publisher_.send(item.message);
            }
            metrics_.messages_published.Increment();
        }
    }
    publish_status();  // the closed books
}

void Feed::publish_status() {
    publisher_.send({"status." + options_.station, status_json()});
    metrics_.messages_published.Increment();
}

void Feed::publish_event(Event& event) {
    event.seq = ++last_seq_;
    const std::chrono::duration<double> latency = std::chrono::steady_clock::now() - event.sound_received;
    event.latency_ms = latency.count() * 1e3;
    publisher_.send({topic_of(event), to_json(event)});
    metrics_.sound_to_publish_seconds.Observe(latency.count());
}

std::string Feed::status_json() const {
    nlohmann::ordered_json json;
    json["schema"] = "chorus.status/1";
    json["station"] = options_.station;
    json["time"] = to_iso8601(utc_now());
    json["seq"] = last_seq_;
    json["model"] = bundle_.id;
    json["version"] = CHORUS_VERSION;
    json["sources"] = nlohmann::ordered_json::array();
    for (const auto& source : sources_()) {
        nlohmann::ordered_json each;
        each["name"] = source.name;
        each["state"] = to_string(source.state);
        each["error"] = source.error.empty() ? nlohmann::ordered_json(nullptr) : nlohmann::ordered_json(source.error);
        each["sample_rate_hz"] = source.sample_rate_hz;
        each["reconnects"] = source.reconnects;
        each["gap_seconds"] = std::round(source.gap_seconds * 1e3) / 1e3;
        each["channels"] = nlohmann::ordered_json::array();
        for (std::size_t channel = 0; channel < source.channels.size(); ++channel) {
            const auto& [samples, level] = source.channels[channel];
            nlohmann::ordered_json dropped = nlohmann::ordered_json::object();
            for (const auto reason : kDropReasons)
                dropped[to_string(reason)] = samples.dropped[static_cast<std::size_t>(reason)];
            each["channels"].push_back({{"channel", channel},
                                        {"level_dbfs", std::round(level.rms_dbfs * 10) / 10},
                                        {"clipped_samples", level.clipped_samples},
                                        {"samples_in", samples.in},
                                        {"samples_analysed", samples.analysed},
                                        {"samples_dropped", dropped},
                                        {"samples_pending", samples.pending}});
        }
        json["sources"].push_back(std::move(each));
    }
    return to_text(json);
}

}  // namespace chorus
