#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <set>
#include <thread>

#include "config/program.h"
#include "daemon/commands.h"
#include "daemon/detect_progress.h"
#include "daemon/event_writer.h"
#include "daemon/recording_analyser.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;

// A file itself; a folder is searched, in the order of names, for what looks like sound.
std::vector<fs::path> find_recordings(const fs::path& given) {
    static const std::set<std::string> kEndings = {".wav",  ".flac", ".ogg",  ".opus", ".mp3", ".aif",
                                                   ".aiff", ".w64",  ".rf64", ".m4a",  ".wv"};
    std::error_code error;
    if (!fs::is_directory(given, error)) return {given};
    std::vector<fs::path> inside;
    fs::recursive_directory_iterator entries(given, fs::directory_options::skip_permission_denied, error);
    for (; !error && entries != fs::recursive_directory_iterator(); entries.increment(error)) {
        std::string ending = entries->path().extension().string();
        std::transform(ending.begin(), ending.end(), ending.begin(),
                       [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
        std::error_code ignored;  // a link that leads nowhere is no recording
        if (kEndings.contains(ending) && entries->is_regular_file(ignored)) inside.push_back(entries->path());
    }
    if (error) throw std::runtime_error(fmt::format("{}: {}", given.string(), error.message()));
    if (inside.empty()) throw std::runtime_error(fmt::format("{}: no recordings in this folder", given.string()));
    std::sort(inside.begin(), inside.end());
    return inside;
}

DetectProgress::Style progress_style(const std::string& wanted) {
    if (wanted == "off") return DetectProgress::Style::kNone;
    if (isatty(STDERR_FILENO) != 0) return DetectProgress::Style::kTerminal;
    return wanted == "on" ? DetectProgress::Style::kPlain : DetectProgress::Style::kNone;
}

}  // namespace

int detect_in_recordings(const DetectOptions& options) {
    set_up_logging("off");  // a recording's failure is said below, once
    DetectProgress progress(std::cerr, progress_style(options.progress));
    const auto say = [&](const std::string& line) { progress.say([&] { std::cerr << "chorusd: " << line << '\n'; }); };
    // Two more than processors: some wait for theirs, which a front-end has, while others could go on.
    const auto threads = options.threads > 0 ? static_cast<unsigned>(options.threads)
                                             : std::max(1U, std::thread::hardware_concurrency()) + 2;
    const auto model =
        open_model(options.bundle, read_bundle(options.bundle),
                   {.device = options.device, .precision = options.precision, .on_fault = say}, threads);
    RecordingAnalyser analyser(options, model);
    const auto& band = model->bundle().front_end;
    const auto writer =
        make_event_writer(options.format, std::cout, band.f_min_hz, band.f_max_hz,
                          {.prior = options.activity_prior > 0.0, .group = options.group_seconds > 0.0});
    int failed = 0;
    std::vector<fs::path> recordings;
    for (const auto& given : options.recordings) {
        try {
            const auto found = find_recordings(given);
            recordings.insert(recordings.end(), found.begin(), found.end());
        } catch (const std::exception&) {
            ++failed;
            say(current_exception_message());
        }
    }
    progress.begin(recordings.size());
    const auto write = [&](const RecordingOutcome& outcome) {
        for (const auto& note : outcome.notes) say(note);
        if (!outcome.failure.empty()) {
            ++failed;
            say(outcome.failure);
        }
        progress.say([&] {
            for (const auto& event : outcome.events) writer->write(event);
            std::cout.flush();
        });
        progress.recording_done();
        return static_cast<bool>(std::cout);
    };
    analyser.analyse(recordings, write, [&](double channel_seconds) { progress.heard(channel_seconds); });
    if (!std::cout.flush()) throw std::runtime_error("cannot write to standard output");
    progress.finish();
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

}  // namespace chorus
