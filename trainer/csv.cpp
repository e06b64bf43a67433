#include "trainer/csv.h"

#include <fmt/format.h>

#include <stdexcept>

namespace chorus {

CsvReader::CsvReader(std::string_view text) : text_(text) {
    if (text_.starts_with("\xEF\xBB\xBF")) text_.remove_prefix(3);
}

void CsvReader::read_quoted(std::string& field) {
    const int opened = line_;
    ++position_;
    while (position_ < text_.size()) {
        const char c = text_[position_++];
        if (c == '"') {
            if (position_ == text_.size() || text_[position_] != '"') {
                if (position_ < text_.size() &&
                    std::string_view(",\r\n").find(text_[position_]) == std::string_view::npos)
                    throw std::runtime_error(fmt::format("line {}: text after a closing quote", line_));
                return;
            }
            ++position_;
        } else if (c == '\n') {
            ++line_;
        }
        field += c;
    }
    throw std::runtime_error(fmt::format("line {}: a quote is never closed", opened));
}

bool CsvReader::next(std::vector<std::string>& fields) {
    while (position_ < text_.size() && (text_[position_] == '\n' || text_[position_] == '\r')) {
        if (text_[position_++] == '\n') ++line_;
    }
    if (position_ == text_.size()) return false;

    fields.clear();
    record_line_ = line_;
    while (true) {
        std::string& field = fields.emplace_back();
        if (position_ < text_.size() && text_[position_] == '"') {
            read_quoted(field);
        } else {
            const auto end = std::min(text_.find_first_of(",\n", position_), text_.size());
            field = text_.substr(position_, end - position_);
            position_ = end;
            if ((end == text_.size() || text_[end] == '\n') && field.ends_with('\r')) field.pop_back();
        }
        if (position_ < text_.size() && text_[position_] == '\r') ++position_;
        if (position_ == text_.size()) return true;
        if (text_[position_++] == ',') continue;
        ++line_;
        return true;
    }
}

}  // namespace chorus
