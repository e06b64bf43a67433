#include "daemon/event_writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <stdexcept>

#include "daemon/time_format.h"

namespace chorus {
namespace {

double seconds(std::int64_t sample, int sample_rate_hz) {
    return static_cast<double>(sample) / sample_rate_hz;
}

std::string time_or_empty(const std::optional<UtcTime>& time) {
    return time ? to_iso8601(*time) : "";
}

std::string csv_field(const std::string& text) {
    if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
    std::string quoted = "\"";
    for (const char c : text) quoted += c == '"' ? "\"\"" : std::string(1, c);
    return quoted + '"';
}

// A tab or a line's end inside a field would shift the columns of a selection table, which knows no quotes.
std::string tab_field(std::string text) {
    std::replace_if(
        text.begin(), text.end(), [](char c) { return c == '\t' || c == '\n' || c == '\r'; }, ' ');
    return text;
}

class JsonLines : public EventWriter {
  public:
    explicit JsonLines(std::ostream& out) : out_(out) {}
    void write(const Event& event) override { out_ << to_json(event) << '\n'; }

  private:
    std::ostream& out_;
};

class Csv : public EventWriter {
  public:
    Csv(std::ostream& out, ExtraColumns extra) : out_(out), extra_(extra) {
        out_ << "file,channel,code,label,start_s,end_s,start,end,peak_score,mean_score,windows,threshold,model,id"
             << (extra.prior ? ",prior" : "") << (extra.group ? ",group,group_strongest\n" : "\n");
    }
    void write(const Event& event) override {
        out_ << fmt::format(
            "{},{},{},{},{:.6f},{:.6f},{},{},{:.6f},{:.6f},{},{:.6f},{},{}", csv_field(event.file), event.channel,
            csv_field(event.code), csv_field(event.label), seconds(event.start_sample, event.sample_rate_hz),
            seconds(event.end_sample, event.sample_rate_hz), time_or_empty(event.start), time_or_empty(event.end),
            event.peak_score, event.mean_score, event.windows, event.threshold, event.model, event_id(event));
        if (extra_.prior) out_ << ',' << (event.prior ? fmt::format("{:.2f}", *event.prior) : "");
        const EventGroup group = event.group.value_or(EventGroup{});
        if (extra_.group) out_ << ',' << group.id << ',' << group.strongest;
        out_ << '\n';
    }

  private:
    std::ostream& out_;
    ExtraColumns extra_;
};

class RavenTable : public EventWriter {
  public:
    RavenTable(std::ostream& out, double lowest_hz, double highest_hz, ExtraColumns extra)
        : out_(out), lowest_hz_(lowest_hz), highest_hz_(highest_hz), extra_(extra) {
        out_ << "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tBegin "
                "File\tFile Offset (s)\tSpecies\tScientific Name\tScore"
             << (extra.group ? "\tGroup\n" : "\n");
    }
    void write(const Event& event) override {
        const double begin = seconds(event.start_sample, event.sample_rate_hz);
        out_ << fmt::format("{}\tSpectrogram 1\t{}\t{:.6f}\t{:.6f}\t{:.1f}\t{:.1f}\t{}\t{:.6f}\t{}\t{}\t{:.4f}",
                            ++selection_, event.channel + 1, begin, seconds(event.end_sample, event.sample_rate_hz),
                            lowest_hz_, std::min(highest_hz_, event.sample_rate_hz / 2.0),
                            tab_field(std::filesystem::path(event.file).filename().string()), begin, event.code,
                            tab_field(event.label), event.peak_score);
        if (extra_.group) out_ << '\t' << event.group.value_or(EventGroup{}).id;
        out_ << '\n';
    }

  private:
    std::ostream& out_;
    double lowest_hz_;
    double highest_hz_;
    ExtraColumns extra_;
    int selection_ = 0;
};

}  // namespace

std::unique_ptr<EventWriter> make_event_writer(const std::string& format, std::ostream& out, double lowest_hz,
                                               double highest_hz, ExtraColumns extra) {
    if (format == "jsonl") return std::make_unique<JsonLines>(out);
    if (format == "csv") return std::make_unique<Csv>(out, extra);
    if (format == "raven") return std::make_unique<RavenTable>(out, lowest_hz, highest_hz, extra);
    throw std::invalid_argument(fmt::format("no such format: {}", format));
}

}  // namespace chorus
