#pragma once
// What the two programs' main functions share.

#include <exception>
#include <string>

namespace chorus {

/// The exception being handled and the ones nested in it, as one sentence: "cannot x: because y: because z".
std::string current_exception_message();

/// Log lines go to stderr: "2026-11-23T02:14:07.120Z info part: text", or, under systemd (JOURNAL_STREAM), without the
/// time and with the journal's priority prefix. level: trace, debug, info, warning, error.
void set_up_logging(const std::string& level);

/// At most 15 characters are kept: what the kernel shows.
void name_this_thread(const std::string& name);

}  // namespace chorus
