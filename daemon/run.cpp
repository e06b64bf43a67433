#include <fmt/format.h>
#include <fmt/ranges.h>
#include <signal.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>

#include "config/config_reader.h"
#include "config/program.h"
#include "daemon/clip_keeper.h"
#include "daemon/commands.h"
#include "daemon/config.h"
#include "daemon/feed.h"
#include "daemon/http_server.h"
#include "daemon/model_switch.h"
#include "daemon/pipeline.h"
#include "daemon/replay.h"
#include "daemon/service_manager.h"
#include "daemon/source_opener.h"
#include "streaming/messaging.h"

namespace chorus {
namespace {

using namespace std::chrono_literals;

constexpr auto kTick = 200ms;       // between looks at signals and at the parts
constexpr auto kPatience = 30s;     // for a part's thread to go round its loop
constexpr auto kStatusEvery = 10s;  // between status lines for the service manager
constexpr auto kDrainTime = 500ms;  // what is queued may still be analysed for so long after a stop signal

constexpr std::array kSignals = {SIGTERM, SIGINT, SIGHUP};

pthread_t main_thread;

extern "C" void pass_to_main_thread(int signal) {
    pthread_kill(main_thread, signal);
}

// Threads inherit the block, so that only wait_for_signal() sees them. Those that a library began as it was loaded (a
// BLAS does) have no block: there a handler passes them on, in place of the end of the process.
sigset_t block_signals() {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : kSignals) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    main_thread = pthread_self();
    struct sigaction action {};
    action.sa_handler = pass_to_main_thread;
    action.sa_flags = SA_RESTART;
    for (const int signal : kSignals) sigaction(signal, &action, nullptr);
    signal(SIGPIPE, SIG_IGN);
    return signals;
}

// 0 when none came in time.
int wait_for_signal(const sigset_t& signals, std::chrono::milliseconds timeout) {
    const timespec time{.tv_sec = timeout.count() / 1000, .tv_nsec = timeout.count() % 1000 * 1'000'000};
    return std::max(sigtimedwait(&signals, nullptr, &time), 0);
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

// Why the station is not healthy; empty while it is.
std::string ill_health(const Pipeline& pipeline, const Feed& feed) {
    const auto reason = pipeline.ill_health();
    const auto fault = feed.journal_fault();
    return reason.empty() && !fault.empty() ? "journal: " + fault : reason;
}

std::map<std::string, HttpServer::Page> pages(const Metrics& metrics, const Pipeline& pipeline, const Feed& feed) {
    return {
        {"/metrics",
         [&] {
             return HttpResponse{.content_type = "text/plain; version=0.0.4; charset=utf-8", .body = metrics.text()};
         }},
        {"/healthz",
         [&] {
             const auto reason = ill_health(pipeline, feed);
             return HttpResponse{.status = reason.empty() ? 200 : 503, .body = (reason.empty() ? "ok" : reason) + "\n"};
         }},
        {"/readyz", [&] {
             const bool ready = pipeline.all_sources_heard();
             return HttpResponse{.status = ready ? 200 : 503, .body = ready ? "ready\n" : "waiting for sound\n"};
         }}};
}

// Why a part's thread doesn't go round its loop any more; empty while all do. What a restart can't mend, such as a card
// that isn't there, is no stall.
std::string stall(const Pipeline& pipeline, const Feed& feed, MonotonicTime now) {
    if (now - feed.last_turn() > kPatience) return "the feed is stuck";
    return pipeline.stall(now, kPatience);
}

std::string status_line(const Pipeline& pipeline, const Feed& feed, const std::string& model_fault) {
    std::size_t up = 0;
    std::size_t channels = 0;
    double seconds = 0;
    const auto sources = pipeline.sources();
    for (const auto& source : sources) {
        if (source.state == SourceState::kUp) {
            ++up;
            channels += source.channels.size();
        }
        for (const auto& channel : source.channels)
            seconds += static_cast<double>(channel.samples.analysed) / std::max(source.sample_rate_hz, 1);
    }
    const auto trouble = ill_health(pipeline, feed);
    return fmt::format("{}{} of {} sources up, {} channels, {:.1f} channel-hours analysed{}{}{}{}",
                       pipeline.any_source_heard() ? "" : "no sound yet; ", up, sources.size(), channels,
                       seconds / 3600, trouble.empty() ? "" : "; ", trouble, model_fault.empty() ? "" : "; ",
                       model_fault);
}

// Takes over what of the configuration file can change while sound flows. With any fault in it all stays as it is.
void reload(const std::filesystem::path& path, Config& config, Pipeline& pipeline, ClipKeeper* clips,
            Metrics& metrics) {
    try {
        auto next = load_station(path, &pipeline.model()->bundle());
        const auto restart = keys_that_need_a_restart(config, next.config);
        if (!restart.empty())
            spdlog::warn("{}: takes effect with a restart: {}", path.string(), fmt::join(restart, ", "));
        spdlog::set_level(spdlog::level::from_str(next.config.log_level));
        pipeline.reload(next.config);
        if (clips != nullptr) clips->adopt(next.config.detection);
        config.adopt_reloadable(next.config);
        metrics.count_reload(true);
        spdlog::info("{}: reloaded", path.string());
        for (const auto& warning : next.config.warnings) spdlog::warn("{}", warning);
    } catch (const ConfigError& error) {
        for (const auto& fault : error.faults()) spdlog::error("{}", to_string(fault));
        spdlog::error("{}: not reloaded, the last good configuration stays in force", path.string());
        metrics.count_reload(false);
    }
}

}  // namespace

int run_service(const std::filesystem::path& config_path) {
    const auto signals = block_signals();
    auto station = load_station(config_path);
    Config& config = station.config;
    set_up_logging(config.log_level);
    for (const auto& warning : config.warnings) spdlog::warn("{}", warning);

    Metrics metrics(config.station);
    const auto on_fault = [&](const std::string& line) {
        spdlog::error("{}", line);
        metrics.gpu_faults.Increment();
    };
    const auto open = [options = ClassifierOptions{.device = config.device,
                                                   .precision = config.precision,
                                                   .max_batch = config.max_batch,
                                                   .on_fault = on_fault}](const std::filesystem::path& path,
                                                                          Bundle bundle, std::size_t classifiers) {
        return open_model(path, std::move(bundle), options, classifiers);
    };
    auto model = open(config.bundle, std::move(station.bundle), scoring_threads(config));
    Messaging messaging(config.curve, [&] { metrics.clients_refused.Increment(); });
    Feed feed(feed_options(config), messaging, metrics);
    std::optional<ReplayServer> replay;
    if (!config.journal_path.empty() && !config.replay_endpoint.empty())
        replay.emplace(messaging, config.replay_endpoint, config.journal_path, metrics);
    std::optional<ClipKeeper> clips;
    if (!config.clips.folder.empty()) {
        clips.emplace(config.clips, config.station, model->bundle(), feed, metrics);
        clips->adopt(config.detection);
    }
    DetectionSink& sink = clips ? static_cast<DetectionSink&>(*clips) : feed;
    Pipeline pipeline(config, std::move(model), sink, metrics, open_source);
    ModelSwitch models(config, pipeline, sink, metrics, open);
    struct StopInOrder {  // the feed's thread asks for sources and model
        Pipeline& pipeline;
        Feed& feed;
        ~StopInOrder() {
            pipeline.stop(0ms);
            feed.stop();
        }
    } stop_in_order{pipeline, feed};

    feed.start([&] { return pipeline.sources(); }, [&] { return models.status(); });
    std::optional<HttpServer> http;
    if (!config.http_listen.empty())
        http.emplace(config.http_listen, pages(metrics, pipeline, feed), config.http_security);

    spdlog::info("station {}: model {} ({}, {} classes) on {} for each of {} analysis thread(s)", config.station,
                 pipeline.model()->id(), to_string(pipeline.model()->bundle().architecture),
                 pipeline.model()->classes(), pipeline.model()->description(), pipeline.analysis_threads());
    spdlog::info("publishing on {}{}", feed.endpoint(),
                 config.curve ? fmt::format(" to {} allowed key(s)", config.curve->allowed.size()) : "");
    if (replay) spdlog::info("replaying on {}", replay->endpoint());
    if (http)
        spdlog::info("serving HTTP{} on {}:{}", config.http_security.certificate_pem.empty() ? "" : "S",
                     config.http_listen.substr(0, config.http_listen.rfind(':')), http->port());
    pipeline.start();

    ServiceManager manager;
    bool ready = false;
    MonotonicTime next_status{};
    std::string stalled;
    while (!pipeline.finished() && !feed.failed() && !(replay && replay->failed())) {
        const int signal = wait_for_signal(signals, kTick);
        if (signal == SIGHUP) {
            manager.reloading();
            reload(config_path, config, pipeline, clips ? &*clips : nullptr, metrics);
            models.look();
            if (ready) manager.ready();
        } else if (signal != 0) {
            break;
        }
        const auto now = std::chrono::steady_clock::now();
        models.supervise(now);
        pipeline.supervise(now);
        // Who starts or upgrades the service must not wait for a card that may be plugged in next week.
        if (!ready && pipeline.settled(now)) {
            if (!pipeline.any_source_heard()) spdlog::warn("no source has given sound yet; ready all the same");
            ready = true;
            manager.status(status_line(pipeline, feed, models.status().fault));
            manager.ready();
        }
        const auto reason = stall(pipeline, feed, now);
        if (reason.empty()) manager.feed_watchdog(now);
        if (reason != stalled && !reason.empty()) spdlog::error("{}; the watchdog is not fed", reason);
        stalled = reason;
        if (now >= next_status) {
            manager.status(status_line(pipeline, feed, models.status().fault));
            next_status = now + kStatusEvery;
        }
    }
    spdlog::info("station {}: ending", config.station);
    manager.stopping();
    pipeline.stop(kDrainTime);
    feed.stop();
    pipeline.rethrow_failure();
    feed.rethrow_failure();
    if (replay) replay->rethrow_failure();
    const auto sources = pipeline.sources();
    return std::any_of(sources.begin(), sources.end(),
                       [](const auto& source) { return source.state == SourceState::kFailed; });
}

}  // namespace chorus
