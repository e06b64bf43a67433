#pragma once
// Pictures as text, for a page that needs nothing but itself.

#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace chorus {

/// With &, <, > and quotes written so that they can stand anywhere in HTML and SVG.
std::string escape_markup(std::string_view text);

struct Axis {
    std::string label;
    double low = 0.0;
    double high = 1.0;
};

struct Series {
    std::string label;
    std::vector<std::pair<double, double>> points;
    bool has_dots = false;  // a dot at each point
};

/// Lines over common axes, with a legend where there is more than one. What lies outside of the axes is drawn at their
/// edge.
std::string line_chart(const std::string& title, const Axis& x, const Axis& y, std::span<const Series> series);

/// Bars side by side over bins of equal width in 0..1, a logarithmic scale upwards.
std::string histogram(const std::string& title, const std::string& x_label, std::span<const Series> counts);

/// A value and what it may as well be.
struct Estimate {
    double value = 0.0;
    double low = 0.0;
    double high = 0.0;
};

/// A row of an interval_chart, an estimate a series.
struct EstimateRow {
    std::string label;
    std::vector<Estimate> estimates;
};

/// A row beneath the other, from 0 to 1: a dot for each estimate, a line over its interval.
std::string interval_chart(const std::string& title, std::span<const std::string> series,
                           std::span<const EstimateRow> rows);

/// values: [labels, labels], each row's cells shaded by their share of its diagonal.
std::string heat_map(const std::string& title, std::span<const std::string> labels, std::span<const int> values);

/// values: [rows, columns] in 0..1, the first row at the bottom: an <img> of so many pixels.
std::string grey_picture(std::span<const float> values, int rows, int columns, std::string_view description);

}  // namespace chorus
