#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace chorus {

/// Comma-separated text as in RFC 4180: quoted fields may hold commas, doubled quotes and line breaks; lines end in LF
/// or CRLF; empty lines and a leading byte order mark are skipped. `text` must outlive the reader.
class CsvReader {
  public:
    explicit CsvReader(std::string_view text);

    /// The next record, false at the end. Throws std::runtime_error naming the line of a quote that is never closed or
    /// is followed by more text.
    bool next(std::vector<std::string>& fields);

    /// The line on which the last record began, counted from 1.
    int line() const { return record_line_; }

  private:
    void read_quoted(std::string& field);

    std::string_view text_;
    std::size_t position_ = 0;
    int line_ = 1;
    int record_line_ = 0;
};

}  // namespace chorus
