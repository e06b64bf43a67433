#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "daemon/config.h"
#include "streaming/audio_source.h"

namespace chorus {

/// Opens and closes a source's AudioSource. Either may hang in a system call for minutes or for ever (a host that
/// swallows packets, a driver, a deadlock), so each is done by a thread of its own, and one at a time: what hangs keeps
/// its source from being opened again, and nothing else. After `hopeless` it is left to hang and the source opened
/// anew, unless kMostLeft hang already. One thread.
class SourceDoor {
  public:
    using Opener = std::function<std::unique_ptr<AudioSource>(const SourceConfig&)>;
    static constexpr std::size_t kMostLeft = 3;

    explicit SourceDoor(Opener open, std::chrono::milliseconds hopeless = std::chrono::minutes(1))
        : open_(std::move(open)), hopeless_(hopeless) {}
    /// Leaves.
    ~SourceDoor() { leave(); }
    SourceDoor(const SourceDoor&) = delete;
    SourceDoor& operator=(const SourceDoor&) = delete;

    /// Begins to open, unless that or the last closing is still under way, and waits for at most `patience`. Null when
    /// it takes longer: ask again. Throws what the opening throws.
    std::unique_ptr<AudioSource> open(const SourceConfig& config, std::chrono::milliseconds patience);

    /// Waits for at most `patience` until it is closed.
    void close(std::unique_ptr<AudioSource> source, std::chrono::milliseconds patience);

    /// What was opened and is no longer wanted is closed, should it have come. Call now and then.
    void decline();

    /// Leaves an opening that hangs to end by itself: what it opens is closed at once.
    void leave();

    /// What is under way and since when, "opening it has taken 12 s so far, 1 earlier attempt hangs"; empty: nothing.
    std::string trouble() const;

    /// All that may hang do: it won't be opened again, unless one of them ends.
    bool hopeless() const;

  private:
    struct Task;
    std::shared_ptr<Task> begin(const std::string& name, std::function<std::unique_ptr<AudioSource>()> work) const;

    void despair();

    const Opener open_;
    const std::chrono::milliseconds hopeless_;
    std::shared_ptr<Task> opening_;
    std::shared_ptr<Task> closing_;
    std::vector<std::shared_ptr<Task>> left_;  // that hung
};

}  // namespace chorus
