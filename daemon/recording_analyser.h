#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/commands.h"
#include "daemon/config.h"
#include "daemon/event.h"
#include "daemon/model.h"
#include "daemon/source_runner.h"

namespace chorus {

/// What came of one recording.
struct RecordingOutcome {
    std::vector<Event> events;       // closed, in order of start, channel and code
    std::vector<std::string> notes;  // what is odd about it, a line each
    std::string failure;             // why it could not be analysed, one line; empty: it was
};

/// Recordings through the service's pipeline. Several are under way at once, so that the processors have something to
/// score while one is being opened and decoded.
class RecordingAnalyser {
  public:
    /// Scores as many windows at once as the model has classifiers. Throws std::runtime_error with one line where the
    /// options don't go with the model.
    RecordingAnalyser(const DetectOptions& options, std::shared_ptr<const Model> model);

    /// Returns whether to go on with the recordings that have not begun.
    using Take = std::function<bool(RecordingOutcome)>;
    /// Sound, of all channels together, that has been analysed since the last call. Any thread.
    using Heard = std::function<void(double channel_seconds)>;

    /// Hands over what came of each recording, one at a time and in their order: the same for any number of threads.
    /// take: must not throw.
    void analyse(const std::vector<std::filesystem::path>& recordings, const Take& take, const Heard& heard);

  private:
    RecordingOutcome analyse(const std::filesystem::path& path, const Heard& heard);
    void analyse(const std::filesystem::path& path, const Heard& heard, RecordingOutcome& outcome);
    void refuse_if_short(const std::filesystem::path& path, const SourceReport& report) const;
    void note_rules_out_of_reach(const std::filesystem::path& path, const SourceReport& report,
                                 RecordingOutcome& outcome) const;

    Config config_;
    const std::shared_ptr<const Model> model_;
    const Bundle& bundle_;  // the model's
};

}  // namespace chorus
