#include "streaming/sample_clock.h"

#include <sys/timex.h>

#include <algorithm>
#include <cmath>

namespace chorus {
namespace {

constexpr std::size_t kFitSeconds = 600;
constexpr std::size_t kLeastFitSeconds = 60;
constexpr std::size_t kLevelSeconds = 60;
constexpr std::size_t kObservationsPerSecond = 64;  // kept for the median; more add nothing
constexpr double kBelievedError = 5e-6;             // standard error of a slope
constexpr double kStepSeconds = 0.25;
constexpr double kEarlySeconds = 0.2;  // below kStepSeconds: what arrives early never passes for a step
constexpr double kStepLastsSeconds = 0.5;
constexpr std::size_t kStepObservations = 3;

template <class Points>
double median_of(const Points& points) {
    std::vector<double> residuals;
    residuals.reserve(points.size());
    for (const auto& point : points) residuals.push_back(point.residual);
    const auto middle = residuals.begin() + static_cast<std::ptrdiff_t>(residuals.size() / 2);
    std::nth_element(residuals.begin(), middle, residuals.end());
    return *middle;
}

}  // namespace

bool SampleClock::observe_arrival(std::int64_t index, UtcTime time, int sample_rate_hz) {
    const auto expected = sample_rate_hz == sample_rate_hz_ && anchored_ ? utc(index) : std::nullopt;
    if (expected && *expected - time > std::chrono::duration<double>(kEarlySeconds)) {
        anchor(index, time);
        return false;
    }
    return observe(index, time, sample_rate_hz);
}

bool SampleClock::observe(std::int64_t index, UtcTime time, int sample_rate_hz) {
    if (sample_rate_hz != sample_rate_hz_) {
        restart();
        slope_.reset();
        sample_rate_hz_ = sample_rate_hz;
    }
    if (!anchored_) {
        anchor(index, time);
        return false;
    }
    const auto by_index = offset(index - anchor_index_, sample_rate_hz_);
    const Point point{.seconds = std::chrono::duration<double>(by_index).count(),
                      .residual = std::chrono::duration<double>(time - anchor_time_ - by_index).count()};
    if (std::abs(point.residual - predicted(point.seconds)) < kStepSeconds) {
        suspect_.clear();
        add(point);
        return false;
    }
    if (!is_step(point)) return false;
    const std::chrono::duration<double> jump(median_of(suspect_));
    anchor(index, anchor_time_ + by_index + std::chrono::round<std::chrono::microseconds>(jump));
    return true;
}

// A burst that comes late catches up, so its residuals don't agree with one another; those of a clock that was set do.
bool SampleClock::is_step(const Point& point) {
    const auto agrees = [&](const Point& other) { return std::abs(other.residual - point.residual) < kStepSeconds; };
    if (!std::all_of(suspect_.begin(), suspect_.end(), agrees)) suspect_.clear();
    if (suspect_.size() >= kObservationsPerSecond) suspect_.erase(suspect_.begin() + 1);
    suspect_.push_back(point);
    return suspect_.size() >= kStepObservations && point.seconds - suspect_.front().seconds >= kStepLastsSeconds;
}

void SampleClock::restart() {
    anchored_ = false;
    second_.clear();
    suspect_.clear();
    seconds_.clear();
}

void SampleClock::anchor(std::int64_t index, UtcTime time) {
    restart();
    anchored_ = true;
    anchor_index_ = index;
    anchor_time_ = time;
    level_ = 0;
    second_.push_back({0.0, 0.0});
}

void SampleClock::add(const Point& point) {
    if (!second_.empty() && point.seconds - second_.front().seconds >= 1.0) close_second();
    if (second_.size() < kObservationsPerSecond) second_.push_back(point);
}

void SampleClock::close_second() {
    double middle = 0;
    for (const auto& point : second_) middle += point.seconds / static_cast<double>(second_.size());
    seconds_.push_back({middle, median_of(second_)});
    second_.clear();
    if (seconds_.size() > kFitSeconds) seconds_.pop_front();
    fit();
}

void SampleClock::fit() {
    const auto count = static_cast<double>(seconds_.size());
    if (seconds_.size() >= kLeastFitSeconds) {
        double mean_t = 0, mean_r = 0;
        for (const auto& [t, r] : seconds_) {
            mean_t += t / count;
            mean_r += r / count;
        }
        double tt = 0, tr = 0, rr = 0;
        for (const auto& [t, r] : seconds_) {
            tt += (t - mean_t) * (t - mean_t);
            tr += (t - mean_t) * (r - mean_r);
            rr += (r - mean_r) * (r - mean_r);
        }
        const double slope = tr / tt;
        const double error = std::sqrt(std::max(rr - slope * tr, 0.0) / (count - 2) / tt);
        if (error <= kBelievedError) slope_ = slope;
    }
    const auto recent = std::min(seconds_.size(), kLevelSeconds);
    level_ = 0;
    for (auto point = seconds_.end() - static_cast<std::ptrdiff_t>(recent); point != seconds_.end(); ++point)
        level_ += (point->residual - slope_.value_or(0.0) * point->seconds) / static_cast<double>(recent);
}

std::optional<UtcTime> SampleClock::utc(std::int64_t index) const {
    if (sample_rate_hz_ == 0) return std::nullopt;
    const auto by_index = offset(index - anchor_index_, sample_rate_hz_);
    const std::chrono::duration<double> correction(predicted(std::chrono::duration<double>(by_index).count()));
    return anchor_time_ + by_index + std::chrono::floor<std::chrono::microseconds>(correction);
}

std::optional<double> SampleClock::drift_ppm() const {
    if (!slope_) return std::nullopt;
    return (1.0 / (1.0 + *slope_) - 1.0) * 1e6;
}

bool system_clock_is_synced() {
    timex state{};
    const int answer = adjtimex(&state);
    return answer != -1 && answer != TIME_ERROR && (state.status & STA_UNSYNC) == 0;
}

}  // namespace chorus
