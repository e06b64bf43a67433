#pragma once

#include <memory>
#include <ostream>
#include <string>

#include "daemon/event.h"

namespace chorus {

/// Writes events of recordings as a table; the header goes out with the writer's making.
class EventWriter {
  public:
    virtual ~EventWriter() = default;
    virtual void write(const Event& event) = 0;
};

/// Columns of tables that are there only where what they hold is switched on.
struct ExtraColumns {
    bool prior = false;
    bool group = false;
};

/// format: "jsonl" (a message as the stream has it, a line each), "csv" (RFC 4180) or "raven" (a selection table of
/// Raven Pro; channels count from 1, frequencies are the model's band). highest_hz: the top of that band.
std::unique_ptr<EventWriter> make_event_writer(const std::string& format, std::ostream& out, double lowest_hz,
                                               double highest_hz, ExtraColumns extra = {});

}  // namespace chorus
