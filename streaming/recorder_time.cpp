#include "streaming/recorder_time.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <fstream>
#include <istream>

namespace chorus {
namespace {

using namespace std::chrono_literals;
using Shown = std::chrono::sys_time<std::chrono::microseconds>;

constexpr std::size_t kMostChunks = 256;
constexpr std::size_t kMostBytes = 64 << 10;
constexpr auto kAgreement = 5s;
constexpr auto kFarthestOffset = 14h;

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/// Reads a text from its front; what doesn't fit makes it fail for good.
class Scanner {
  public:
    explicit Scanner(std::string_view text) : text_(text) {}

    int digits(std::size_t count) {
        int value = 0;
        for (std::size_t i = 0; i < count; ++i) {
            if (failed_ || text_.empty() || !is_digit(text_[0])) return fail();
            value = value * 10 + (text_[0] - '0');
            text_.remove_prefix(1);
        }
        return value;
    }
    // One of `set`; a NUL where there is none.
    char any_of(std::string_view set) {
        if (failed_ || text_.empty() || set.find(text_[0]) == std::string_view::npos) return static_cast<char>(fail());
        const char c = text_[0];
        text_.remove_prefix(1);
        return c;
    }
    bool skip(std::string_view wanted) {
        if (failed_ || !text_.starts_with(wanted)) return false;
        text_.remove_prefix(wanted.size());
        return true;
    }
    void expect(std::string_view wanted) {
        if (!skip(wanted)) fail();
    }
    // ".123": microseconds, or none where there is no fraction.
    std::chrono::microseconds fraction() {
        if (!next_is('.')) return 0us;
        text_.remove_prefix(1);
        std::int64_t value = 0;
        std::int64_t unit = 100'000;
        for (; !text_.empty() && is_digit(text_[0]); text_.remove_prefix(1)) {
            value += unit * (text_[0] - '0');
            unit /= 10;
        }
        return std::chrono::microseconds(value);
    }
    bool next_is(char c) const { return !failed_ && !text_.empty() && text_[0] == c; }
    bool next_is_digit() const { return !failed_ && !text_.empty() && is_digit(text_[0]); }
    bool ok() const { return !failed_; }

  private:
    int fail() {
        failed_ = true;
        return 0;
    }
    std::string_view text_;
    bool failed_ = false;
};

std::optional<Shown> make_time(int year, int month, int day, int hour, int minute, int second) {
    const auto date = std::chrono::year(year) / std::chrono::month(static_cast<unsigned>(month)) /
                      std::chrono::day(static_cast<unsigned>(day));
    if (!date.ok() || year < 1970 || hour > 23 || minute > 59 || second > 59) return std::nullopt;
    return Shown(std::chrono::sys_days(date)) + std::chrono::hours(hour) + std::chrono::minutes(minute) +
           std::chrono::seconds(second);
}

struct TimeOfDay {
    int hour = 0, minute = 0, second = 0;
};

// "19:00:00", with any of `separators` between the numbers.
TimeOfDay time_of_day(Scanner& scan, std::string_view separators) {
    TimeOfDay time;
    time.hour = scan.digits(2);
    scan.any_of(separators);
    time.minute = scan.digits(2);
    scan.any_of(separators);
    time.second = scan.digits(2);
    return time;
}

std::optional<std::chrono::minutes> make_offset(char sign, int hours, int minutes) {
    const auto offset = std::chrono::hours(hours) + std::chrono::minutes(minutes);
    if (minutes > 59 || offset > kFarthestOffset) return std::nullopt;
    return sign == '-' ? -offset : offset;
}

// "2019-10-05T19:00:00.000-03:00": the separators may be ' ' and "+HHMM", the zone may be 'Z' or missing.
std::optional<RecorderTime> iso_time(std::string_view text) {
    Scanner scan(text);
    const int year = scan.digits(4);
    scan.expect("-");
    const int month = scan.digits(2);
    scan.expect("-");
    const int day = scan.digits(2);
    scan.any_of("T ");
    const auto [hour, minute, second] = time_of_day(scan, ":");
    const auto fraction = scan.fraction();
    const auto shown = make_time(year, month, day, hour, minute, second);
    if (!scan.ok() || !shown) return std::nullopt;
    RecorderTime time{*shown + fraction, {}};
    scan.skip(" ");
    if (scan.skip("Z")) {
        time.utc_offset = 0min;
    } else if (scan.next_is('+') || scan.next_is('-')) {
        const char sign = scan.any_of("+-");
        const int hours = scan.digits(2);
        scan.skip(":");
        const int minutes = scan.digits(2);
        if (scan.ok()) time.utc_offset = make_offset(sign, hours, minutes);
    }
    return time;
}

// "Recorded at 19:00:00 10/05/2019 (UTC+1) by AudioMoth ..."; (UTC+5:30) and "19:00:00.500" are written, too.
std::optional<RecorderTime> audiomoth_time(std::string_view comment) {
    constexpr std::string_view kMark = "Recorded at ";
    const auto mark = comment.find(kMark);
    if (mark == std::string_view::npos) return std::nullopt;
    Scanner scan(comment.substr(mark + kMark.size()));
    const auto [hour, minute, second] = time_of_day(scan, ":");
    const auto fraction = scan.fraction();
    scan.expect(" ");
    const int day = scan.digits(2);
    scan.expect("/");
    const int month = scan.digits(2);
    scan.expect("/");
    const int year = scan.digits(4);
    scan.expect(" (UTC");
    std::optional<std::chrono::minutes> offset = 0min;
    if (scan.next_is('+') || scan.next_is('-')) {
        const char sign = scan.any_of("+-");
        int hours = scan.digits(1);
        if (scan.next_is_digit()) hours = hours * 10 + scan.digits(1);
        const int minutes = scan.skip(":") ? scan.digits(2) : 0;
        offset = make_offset(sign, hours, minutes);
    }
    scan.expect(")");
    const auto shown = make_time(year, month, day, hour, minute, second);
    if (!scan.ok() || !shown || !offset) return std::nullopt;
    return RecorderTime{*shown + fraction, offset};
}

std::optional<RecorderTime> guano_time(std::string_view text) {
    constexpr std::string_view kField = "Timestamp:";
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        if (!line.starts_with(kField)) continue;
        const auto value = line.substr(kField.size());
        return iso_time(value.substr(std::min(value.find_first_not_of(' '), value.size())));
    }
    return std::nullopt;
}

std::uint64_t little_endian(std::string_view bytes, std::size_t at, std::size_t count) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < count && at + i < bytes.size(); ++i)
        value |= std::uint64_t{static_cast<unsigned char>(bytes[at + i])} << (8 * i);
    return value;
}

// Entries of an id (16 bits), a length (32 bits) and so many bytes; 5 is the time.
std::optional<RecorderTime> wamd_time(std::string_view bytes) {
    while (bytes.size() > 6) {
        const auto id = little_endian(bytes, 0, 2);
        const auto size = static_cast<std::size_t>(little_endian(bytes, 2, 4));
        bytes.remove_prefix(6);
        if (id == 5) return iso_time(bytes.substr(0, size));
        bytes.remove_prefix(std::min(size, bytes.size()));
    }
    return std::nullopt;
}

// EBU Tech 3285: date and time of origination at 320 and 330, then the samples since midnight, which tell the fraction.
std::optional<RecorderTime> bext_time(std::string_view bytes, std::uint64_t sample_rate_hz) {
    if (bytes.size() < 346) return std::nullopt;
    Scanner scan(bytes.substr(320, 18));
    constexpr std::string_view kSeparators = "-_:./ ";
    const int year = scan.digits(4);
    scan.any_of(kSeparators);
    const int month = scan.digits(2);
    scan.any_of(kSeparators);
    const int day = scan.digits(2);
    const auto [hour, minute, second] = time_of_day(scan, kSeparators);
    const auto shown = make_time(year, month, day, hour, minute, second);
    if (!scan.ok() || !shown) return std::nullopt;
    RecorderTime time{*shown, {}};
    const auto reference = little_endian(bytes, 338, 8);
    if (sample_rate_hz > 0 && reference / sample_rate_hz < 86'400) {
        const auto precise = std::chrono::floor<std::chrono::days>(*shown) +
                             std::chrono::seconds(reference / sample_rate_hz) +
                             std::chrono::microseconds(reference % sample_rate_hz * 1'000'000 / sample_rate_hz);
        if (std::chrono::abs(precise - *shown) < 2s) time.shown = precise;
    }
    return time;
}

// AudioMoth's comment is the ICMT of a LIST chunk.
std::optional<RecorderTime> list_time(std::string_view bytes) {
    const auto comment = bytes.find("ICMT");
    if (!bytes.starts_with("INFO") || comment == std::string_view::npos) return std::nullopt;
    return audiomoth_time(bytes.substr(comment));
}

/// The chunks that tell a time.
struct Chunks {
    std::string guano, wamd, list, bext;
    std::uint64_t sample_rate_hz = 0;
};

Chunks read_chunks(std::istream& wav) {
    Chunks chunks;
    std::array<char, 12> head{};
    if (!wav.read(head.data(), head.size())) return chunks;
    const std::string_view kind(head.data(), 4);
    if ((kind != "RIFF" && kind != "RF64" && kind != "BW64") || std::string_view(head.data() + 8, 4) != "WAVE")
        return chunks;
    std::uint64_t at = head.size();
    std::uint64_t long_data_size = 0;
    const auto body = [&](std::uint64_t size) {
        std::string bytes(static_cast<std::size_t>(std::min<std::uint64_t>(size, kMostBytes)), '\0');
        wav.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        bytes.resize(static_cast<std::size_t>(std::max<std::streamsize>(wav.gcount(), 0)));
        return bytes;
    };
    for (std::size_t count = 0; count < kMostChunks; ++count) {
        std::array<char, 8> header{};
        wav.clear();
        if (at > INT64_MAX / 2 || !wav.seekg(static_cast<std::streamoff>(at)) ||
            !wav.read(header.data(), header.size()))
            break;
        const std::string_view id(header.data(), 4);
        std::uint64_t size = little_endian({header.data(), header.size()}, 4, 4);
        if (id == "ds64") {
            long_data_size = little_endian(body(size), 8, 8);
        } else if (id == "data" && size == 0xffffffff) {
            size = long_data_size;
        } else if (id == "fmt ") {
            chunks.sample_rate_hz = little_endian(body(size), 4, 4);
        } else if (id == "guan") {
            chunks.guano = body(size);
        } else if (id == "wamd") {
            chunks.wamd = body(size);
        } else if (id == "LIST") {
            auto list = body(size);
            if (list.starts_with("INFO")) chunks.list = std::move(list);
        } else if (id == "bext") {
            chunks.bext = body(size);
        }
        if (size > INT64_MAX / 4) break;
        at += header.size() + size + size % 2;
    }
    return chunks;
}

}  // namespace

std::optional<RecorderTime> time_in_name(std::string_view stem) {
    constexpr std::size_t kLength = 15;  // YYYYMMDD_HHMMSS
    // The last place where it fits, as a site's own name may hold digits.
    for (std::size_t at = stem.size() < kLength ? 0 : stem.size() - kLength + 1; at-- > 0;) {
        const auto is_word = [](char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); };
        if (at > 0 && is_word(stem[at - 1])) continue;
        if (at + kLength < stem.size() && is_digit(stem[at + kLength])) continue;
        Scanner scan(stem.substr(at));
        const int year = scan.digits(4);
        const int month = scan.digits(2);
        const int day = scan.digits(2);
        scan.any_of("_-T");
        const int hour = scan.digits(2);
        const int minute = scan.digits(2);
        const int second = scan.digits(2);
        const auto shown = make_time(year, month, day, hour, minute, second);
        if (!scan.ok() || !shown) continue;
        RecorderTime time{*shown, {}};
        if (scan.skip("Z")) {
            time.utc_offset = 0min;
        } else if (scan.next_is('+') || scan.next_is('-')) {
            const char sign = scan.any_of("+-");
            const int hours = scan.digits(2);
            const int minutes = scan.digits(2);
            // A counter looks like a zone, but all zones keep to quarters of an hour.
            if (scan.ok() && !scan.next_is_digit() && minutes % 15 == 0)
                time.utc_offset = make_offset(sign, hours, minutes);
        }
        return time;
    }
    return std::nullopt;
}

std::optional<RecorderTime> time_in_metadata(std::istream& wav) {
    const auto chunks = read_chunks(wav);
    if (const auto time = guano_time(chunks.guano)) return time;
    if (const auto time = wamd_time(chunks.wamd)) return time;
    if (const auto time = list_time(chunks.list)) return time;
    return bext_time(chunks.bext, chunks.sample_rate_hz);
}

RecordingStart recording_start(const std::filesystem::path& path) {
    const auto named = time_in_name(path.stem().string());
    std::ifstream file;
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) file.open(path, std::ios::binary);
    auto embedded = file.is_open() ? time_in_metadata(file) : std::nullopt;
    if (!embedded) return {named ? std::optional(named->utc()) : std::nullopt, ""};
    if (!named) return {embedded->utc(), ""};

    // The two may be shown in different zones, of which one is not told.
    const bool same_shown = std::chrono::abs(embedded->shown - named->shown) <= kAgreement;
    const bool zone_is_open = !embedded->utc_offset || !named->utc_offset;
    if (same_shown && !embedded->utc_offset) embedded->utc_offset = named->utc_offset;
    const bool agree = std::chrono::abs(embedded->utc() - named->utc()) <= kAgreement || (same_shown && zone_is_open);
    if (agree) return {embedded->utc(), ""};
    const auto seconds = [](UtcTime time) { return std::chrono::floor<std::chrono::seconds>(time); };
    return {
        embedded->utc(),
        fmt::format("the metadata says that it began at {:%FT%TZ}, the name says {:%FT%TZ}: the metadata is believed",
                    seconds(embedded->utc()), seconds(named->utc()))};
}

}  // namespace chorus
