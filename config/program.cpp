#include "config/program.h"

#include <pthread.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cstdlib>
#include <memory>

namespace chorus {
namespace {

void append_message(std::string& message, const std::exception& error) {
    if (!message.empty()) message += ": ";
    message += error.what();
    try {
        std::rethrow_if_nested(error);
    } catch (const std::exception& cause) {
        append_message(message, cause);
    } catch (...) {
        message += ": unknown cause";
    }
}

/// sd-daemon(3): "<3>" to "<7>" at the start of a line give its priority.
class JournalPriority : public spdlog::custom_flag_formatter {
  public:
    void format(const spdlog::details::log_msg& message, const std::tm&, spdlog::memory_buf_t& out) override {
        const char* prefix = message.level >= spdlog::level::err    ? "<3>"
                             : message.level == spdlog::level::warn ? "<4>"
                             : message.level == spdlog::level::info ? "<6>"
                                                                    : "<7>";
        out.append(prefix, prefix + 3);
    }
    std::unique_ptr<custom_flag_formatter> clone() const override { return std::make_unique<JournalPriority>(); }
};

}  // namespace

std::string current_exception_message() {
    try {
        throw;
    } catch (const std::exception& error) {
        std::string message;
        append_message(message, error);
        return message;
    } catch (...) {
        return "unknown error";
    }
}

void set_up_logging(const std::string& level) {
    auto logger = std::make_shared<spdlog::logger>("chorus", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    auto formatter = std::make_unique<spdlog::pattern_formatter>(spdlog::pattern_time_type::utc);
    if (std::getenv("JOURNAL_STREAM") != nullptr) {
        formatter->add_flag<JournalPriority>('*').set_pattern("%*%v");
    } else {
        formatter->set_pattern("%Y-%m-%dT%H:%M:%S.%eZ %l %v");
    }
    logger->set_formatter(std::move(formatter));
    logger->set_level(spdlog::level::from_str(level));
    logger->flush_on(spdlog::level::info);
    spdlog::set_default_logger(std::move(logger));
}

void name_this_thread(const std::string& name) {
    pthread_setname_np(pthread_self(), name.substr(0, 15).c_str());
}

}  // namespace chorus
