#include <fmt/format.h>
#include <signal.h>
#include <spdlog/spdlog.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "config/program.h"
#include "daemon/commands.h"
#include "daemon/config.h"
#include "daemon/feed.h"
#include "daemon/http_server.h"
#include "daemon/pipeline.h"
#include "daemon/replay.h"
#include "daemon/source_opener.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kDrainTime = 500ms;  // what is queued may still be analysed for so long after a stop signal

// Before any thread exists, so that all inherit it and only wait_for_signal() sees them.
sigset_t block_stop_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    signal(SIGPIPE, SIG_IGN);
    return signals;
}

bool wait_for_signal(const sigset_t& signals, std::chrono::milliseconds timeout) {
    const timespec time{.tv_sec = timeout.count() / 1000, .tv_nsec = timeout.count() % 1000 * 1'000'000};
    return sigtimedwait(&signals, nullptr, &time) > 0;
}

FeedOptions feed_options(const Config& config) {
    FeedOptions options{.station = config.station,
                        .endpoint = config.publish_endpoint,
                        .scores = config.publish_scores,
                        .status_interval = config.status_interval,
                        .journal = {}};
    if (!config.journal_path.empty()) {
        options.journal = {.path = config.journal_path,
                           .keep = std::chrono::days(config.journal_keep_days),
                           .max_bytes = std::int64_t{config.journal_max_mib} << 20};
    }
    return options;
}

std::map<std::string, HttpServer::Page> pages(const Metrics& metrics, const Pipeline& pipeline, const Feed& feed) {
    return {
        {"/metrics",
         [&] {
             return HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.text()};
         }},
        {"/healthz",
         [&] {
             auto reason = pipeline.ill_health();
             if (const auto fault = feed.journal_fault(); reason.empty() && !fault.empty())
                 reason = "journal: " + fault;
             return HttpResponse{.status = reason.empty() ? 200 : 503, .body = (reason.empty() ? "ok" : reason) + "\n"};
         }},
        {"/readyz", [&] {
             const bool ready = pipeline.all_sources_heard();
             return HttpResponse{.status = ready ? 200 : 503, .body = ready ? "ready\n" : "waiting for sound\n"};
         }}};
}

}  // namespace

int run_service(const std::filesystem::path& config_path) {
    const auto stop_signals = block_stop_signals();
    const auto station = load_station(config_path);
    const Config& config = station.config;
    set_up_logging(config.log_level);
    for (const auto& warning : config.warnings) spdlog::warn("{}", warning);

    Metrics metrics(config.station);
    metrics.set_model(station.bundle);
    Feed feed(feed_options(config), station.bundle, metrics);
    std::optional<ReplayServer> replay;
    if (!config.journal_path.empty() && !config.replay_endpoint.empty())
        replay.emplace(config.replay_endpoint, config.journal_path, metrics);
    const FrontEnd front_end(station.bundle.front_end);
    const auto classifier =
        open_classifier(config.bundle, station.bundle, {.device = config.device, .threads = config.threads});
    Pipeline pipeline(config, station.bundle, front_end, *classifier, feed, metrics, open_source);
    struct StopInOrder {  // the feed's thread asks the pipeline for its sources
        Pipeline& pipeline;
        Feed& feed;
        ~StopInOrder() {
            pipeline.stop(0ms);
            feed.stop();
        }
    } stop_in_order{pipeline, feed};

    feed.start([&] { return pipeline.sources(); });
    std::optional<HttpServer> http;
    if (!config.http_listen.empty()) http.emplace(config.http_listen, pages(metrics, pipeline, feed));

    spdlog::info("station {}: model {} ({}, {} classes) on {}", config.station, station.bundle.id,
                 to_string(station.bundle.architecture), station.bundle.labels.size(), classifier->description());
    spdlog::info("publishing on {}", feed.endpoint());
    if (replay) spdlog::info("replaying on {}", replay->endpoint());
    if (http)
        spdlog::info("serving HTTP on {}:{}", config.http_listen.substr(0, config.http_listen.rfind(':')),
                     http->port());
    pipeline.start();

    bool ready = false;
    while (!pipeline.finished() && !feed.failed() && !wait_for_signal(stop_signals, 200ms)) {
        if (!ready && pipeline.all_sources_heard()) {
            ready = true;
            sd_notify(0, "READY=1");
        }
    }
    spdlog::info("station {}: ending", config.station);
    sd_notify(0, "STOPPING=1");
    pipeline.stop(kDrainTime);
    feed.stop();
    pipeline.rethrow_failure();
    feed.rethrow_failure();
    const auto sources = pipeline.sources();
    return std::any_of(sources.begin(), sources.end(),
                       [](const auto& source) { return source.state == SourceState::kFailed; });
}

}  // namespace chorus
