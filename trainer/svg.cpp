#include "trainer/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace chorus {
namespace {

constexpr double kWidth = 320;
constexpr double kHeight = 220;
constexpr double kLeft = 46;
constexpr double kRight = 12;
constexpr double kTop = 26;
constexpr double kBottom = 38;
constexpr int kTicks = 4;
constexpr std::array<const char*, 4> kColours = {"#1f5fa8", "#c2571a", "#3a8a4d", "#7a4fa0"};

const char* colour_of(std::size_t series) {
    return kColours[series % kColours.size()];
}

/// Where values of two axes lie in a picture.
class Frame {
  public:
    Frame(const Axis& x, const Axis& y) : x_(x), y_(y) {}

    double across(double value) const { return kLeft + share(value, x_) * (kWidth - kLeft - kRight); }
    double down(double value) const { return kHeight - kBottom - share(value, y_) * (kHeight - kTop - kBottom); }

    std::string axes(const std::string& title) const {
        auto svg = fmt::format("<text x='{}' y='16' class='title'>{}</text>", kLeft, escape_markup(title));
        for (int i = 0; i <= kTicks; ++i) {
            const double part = static_cast<double>(i) / kTicks;
            const double x = x_.low + part * (x_.high - x_.low);
            const double y = y_.low + part * (y_.high - y_.low);
            svg += fmt::format("<line x1='{0:.1f}' x2='{1:.1f}' y1='{2:.1f}' y2='{2:.1f}' class='grid'/>", kLeft,
                               kWidth - kRight, down(y));
            svg += fmt::format("<text x='{:.1f}' y='{:.1f}' class='end'>{:.3g}</text>", kLeft - 4, down(y) + 3, y);
            svg += fmt::format("<text x='{:.1f}' y='{:.1f}' class='middle'>{:.3g}</text>", across(x),
                               kHeight - kBottom + 13, x);
        }
        svg += fmt::format("<text x='{:.1f}' y='{:.1f}' class='middle'>{}</text>", (kLeft + kWidth - kRight) / 2,
                           kHeight - 6, escape_markup(x_.label));
        svg += fmt::format("<text transform='translate(10 {:.1f}) rotate(-90)' class='middle'>{}</text>",
                           (kTop + kHeight - kBottom) / 2, escape_markup(y_.label));
        return svg;
    }

  private:
    static double share(double value, const Axis& axis) {
        const double width = axis.high - axis.low;
        return width > 0.0 ? std::clamp((value - axis.low) / width, 0.0, 1.0) : 0.0;
    }
    Axis x_;
    Axis y_;
};

std::string legend(std::span<const Series> series) {
    if (series.size() < 2) return {};
    std::string svg;
    for (std::size_t i = 0; i < series.size(); ++i)
        svg += fmt::format("<text x='{:.1f}' y='{:.1f}' class='end' fill='{}'>{}</text>", kWidth - kRight - 4,
                           kTop + 12.0 + 12.0 * static_cast<double>(i), colour_of(i), escape_markup(series[i].label));
    return svg;
}

std::string picture(double width, double height, const std::string& content) {
    return fmt::format("<svg viewBox='0 0 {0:.0f} {1:.0f}' width='{0:.0f}' height='{1:.0f}' role='img'>{2}</svg>\n",
                       width, height, content);
}

std::string base64(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    std::string text;
    for (std::size_t at = 0; at < bytes.size(); at += 3) {
        const auto byte = [&](std::size_t i) { return at + i < bytes.size() ? unsigned{bytes[at + i]} : 0U; };
        const unsigned group = byte(0) << 16 | byte(1) << 8 | byte(2);
        for (int i = 0; i < 4; ++i) text += kDigits[group >> (18 - 6 * i) & 63];
        if (at + 1 >= bytes.size()) text[text.size() - 2] = '=';
        if (at + 2 >= bytes.size()) text.back() = '=';
    }
    return text;
}

void append_little_endian(std::vector<std::uint8_t>& bytes, std::uint32_t value, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
}

/// A Windows bitmap of 256 greys, the simplest format that all browsers show; its rows go from the bottom up, too.
std::vector<std::uint8_t> bitmap(std::span<const float> values, int rows, int columns) {
    constexpr std::uint32_t kHeader = 14 + 40 + 4 * 256;
    const auto width = static_cast<std::uint32_t>(columns);
    const auto height = static_cast<std::uint32_t>(rows);
    const std::uint32_t row_size = (width + 3) / 4 * 4;
    std::vector<std::uint8_t> bytes = {'B', 'M'};
    append_little_endian(bytes, kHeader + row_size * height, 4);
    append_little_endian(bytes, 0, 4);
    append_little_endian(bytes, kHeader, 4);
    append_little_endian(bytes, 40, 4);
    append_little_endian(bytes, width, 4);
    append_little_endian(bytes, height, 4);
    append_little_endian(bytes, 1, 2);
    append_little_endian(bytes, 8, 2);
    for (int i = 0; i < 6; ++i) append_little_endian(bytes, 0, 4);
    for (std::uint32_t grey = 0; grey < 256; ++grey) append_little_endian(bytes, (255 - grey) * 0x010101U, 4);
    for (std::uint32_t row = 0; row < height; ++row) {
        for (std::uint32_t column = 0; column < width; ++column) {
            const float value = std::clamp(values[std::size_t{row} * width + column], 0.0F, 1.0F);
            bytes.push_back(static_cast<std::uint8_t>(std::lround(255.0F * value)));
        }
        for (std::uint32_t column = width; column < row_size; ++column) bytes.push_back(0);
    }
    return bytes;
}

}  // namespace

std::string escape_markup(std::string_view text) {
    std::string escaped;
    for (const char c : text) {
        switch (c) {
            case '&':
                escaped += "&amp;";
                break;
            case '<':
                escaped += "&lt;";
                break;
            case '>':
                escaped += "&gt;";
                break;
            case '"':
                escaped += "&quot;";
                break;
            case '\'':
                escaped += "&#39;";
                break;
            default:
                escaped += c;
        }
    }
    return escaped;
}

std::string line_chart(const std::string& title, const Axis& x, const Axis& y, std::span<const Series> series) {
    const Frame frame(x, y);
    auto svg = frame.axes(title);
    for (std::size_t i = 0; i < series.size(); ++i) {
        std::string points;
        for (const auto& [across, up] : series[i].points) {
            points += fmt::format("{:.1f},{:.1f} ", frame.across(across), frame.down(up));
            if (series[i].has_dots)
                svg += fmt::format("<circle cx='{:.1f}' cy='{:.1f}' r='2.5' fill='{}'/>", frame.across(across),
                                   frame.down(up), colour_of(i));
        }
        svg += fmt::format("<polyline points='{}' fill='none' stroke='{}' stroke-width='1.5'/>", points, colour_of(i));
    }
    return picture(kWidth, kHeight, svg + legend(series));
}

std::string histogram(const std::string& title, const std::string& x_label, std::span<const Series> counts) {
    double most = 1.0;
    std::size_t bins = 1;
    for (const auto& series : counts) {
        bins = std::max(bins, series.points.size());
        for (const auto& [at, count] : series.points) most = std::max(most, count);
    }
    const Frame frame({.label = x_label}, {.label = "log10(1 + clips)", .low = 0.0, .high = std::log10(1.0 + most)});
    auto svg = frame.axes(title);
    const double width = 1.0 / static_cast<double>(bins * (counts.size() + 1));
    for (std::size_t i = 0; i < counts.size(); ++i) {
        for (std::size_t bin = 0; bin < counts[i].points.size(); ++bin) {
            const double left =
                static_cast<double>(bin) / static_cast<double>(bins) + static_cast<double>(i) * width + width / 2;
            const double top = frame.down(std::log10(1.0 + counts[i].points[bin].second));
            svg += fmt::format("<rect x='{:.1f}' y='{:.1f}' width='{:.1f}' height='{:.1f}' fill='{}'/>",
                               frame.across(left), top, frame.across(left + width) - frame.across(left),
                               frame.down(0.0) - top, colour_of(i));
        }
    }
    return picture(kWidth, kHeight, svg + legend(counts));
}

std::string interval_chart(const std::string& title, std::span<const std::string> series,
                           std::span<const EstimateRow> rows) {
    constexpr double kMargin = 120;
    constexpr double kRange = 400;
    constexpr double kFirst = 44;
    constexpr double kLine = 7;  // between the estimates of a row
    const double row_height = kLine * static_cast<double>(series.size() + 1);
    const double bottom = kFirst + row_height * static_cast<double>(rows.size());
    const auto across = [](double value) { return kMargin + kRange * std::clamp(value, 0.0, 1.0); };
    auto svg = fmt::format("<text x='4' y='16' class='title'>{}</text>", escape_markup(title));
    for (std::size_t i = 0; i < series.size(); ++i)
        svg += fmt::format("<text x='{:.0f}' y='16' class='end' fill='{}'>{}</text>",
                           kMargin + kRange - 90.0 * static_cast<double>(series.size() - 1 - i), colour_of(i),
                           escape_markup(series[i]));
    for (int i = 0; i <= kTicks; ++i) {
        const double value = static_cast<double>(i) / kTicks;
        svg += fmt::format("<line x1='{0:.1f}' x2='{0:.1f}' y1='{1:.0f}' y2='{2:.0f}' class='grid'/>", across(value),
                           kFirst - 8, bottom);
        svg += fmt::format("<text x='{:.1f}' y='{:.0f}' class='middle'>{:g}</text>", across(value), kFirst - 12, value);
    }
    double down = kFirst;
    for (const auto& row : rows) {
        svg += fmt::format("<text x='{:.0f}' y='{:.1f}' class='end'>{}</text>", kMargin - 6, down + kLine,
                           escape_markup(row.label));
        for (std::size_t i = 0; i < row.estimates.size(); ++i) {
            const auto& [value, low, high] = row.estimates[i];
            svg += fmt::format(
                "<line x1='{0:.1f}' x2='{1:.1f}' y1='{2:.1f}' y2='{2:.1f}' stroke='{4}' stroke-opacity='0.5'/>"
                "<circle cx='{3:.1f}' cy='{2:.1f}' r='2.5' fill='{4}'/>",
                across(low), across(high), down + kLine * static_cast<double>(i), across(value), colour_of(i));
        }
        down += row_height;
    }
    return picture(kMargin + kRange + kRight, bottom, svg);
}

std::string heat_map(const std::string& title, std::span<const std::string> labels, std::span<const int> values) {
    constexpr double kCell = 14;
    constexpr double kMargin = 110;
    const auto count = labels.size();
    auto svg = fmt::format("<text x='4' y='16' class='title'>{}</text>", escape_markup(title));
    for (std::size_t row = 0; row < count; ++row) {
        const double at = kMargin + kCell * static_cast<double>(row);
        const auto label = escape_markup(labels[row]);
        svg += fmt::format("<text x='{:.0f}' y='{:.0f}' class='end'>{}</text>", kMargin - 4, at + 11, label);
        svg += fmt::format("<text transform='translate({:.0f} {:.0f}) rotate(-90)'>{}</text>", at + 11, kMargin - 4,
                           label);
        for (std::size_t column = 0; column < count; ++column) {
            const int value = values[row * count + column];
            if (value == 0) continue;
            const double share = static_cast<double>(value) / std::max(1, values[row * count + row]);
            svg += fmt::format(
                "<rect x='{:.0f}' y='{:.0f}' width='13' height='13' fill='#1f5fa8' fill-opacity='{:.3f}'>"
                "<title>{} with {}: {}</title></rect>",
                kMargin + kCell * static_cast<double>(column), at, 0.08 + 0.92 * share, label,
                escape_markup(labels[column]), value);
        }
    }
    const double size = kMargin + kCell * static_cast<double>(count) + 4;
    return picture(size, size, svg);
}

std::string grey_picture(std::span<const float> values, int rows, int columns, std::string_view description) {
    return fmt::format("<img width='{}' height='{}' alt='{}' src='data:image/bmp;base64,{}'>", columns, rows,
                       escape_markup(description), base64(bitmap(values, rows, columns)));
}

}  // namespace chorus
