#include "trainer/feature_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "model/bundle.h"
#include "model/resampler.h"
#include "trainer/audio_file.h"
#include "trainer/durable_file.h"
#include "trainer/mapped_file.h"

namespace chorus {
namespace {

using nlohmann::json;

constexpr std::string_view kFormat = "features-1\n";
constexpr std::string_view kEnding = ".features";
constexpr std::string_view kUnfinished = ".features-new";

/// A crash costs no more than this of the work.
constexpr std::size_t kSegmentBytes = std::size_t{1} << 30;

/// Whoever writes a segment does so more often.
constexpr auto kAbandonedAfter = std::chrono::hours(24);

constexpr std::size_t kIdDigits = 16;
constexpr std::size_t kLengthDigits = 20;
constexpr std::size_t kHashDigits = 64;
constexpr std::size_t kTrailerBytes = kIdDigits + 1 + kLengthDigits + 1 + kHashDigits + 1 + kFormat.size();

std::span<const std::byte> bytes_of(std::string_view text) {
    return std::as_bytes(std::span(text));
}

std::string_view text_of(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string identify(const FrontEnd& front_end) {
    const auto& p = front_end.parameters();
    auto text = fmt::format("{} {} {:a} {} {} {} {:a} {:a} {:a} {}", kFormat, p.sample_rate_hz, p.window_seconds,
                            p.n_fft, p.hop, p.mels, p.f_min_hz, p.f_max_hz, p.log_floor, decoder_version());
    const auto hash = [&text](std::span<const float> values) { text += sha256_hex(std::as_bytes(values)); };
    hash(golden_values(front_end));
    std::vector<float> chirp(4096);
    for (std::size_t i = 0; i < chirp.size(); ++i)
        chirp[i] = std::sin(1e-4F * static_cast<float>(i) * static_cast<float>(i));
    // A ratio of small numbers and one of large ones go different ways (resampler.h).
    for (const int rate_hz : {44'100, 44'101}) hash(resample(chirp, rate_hz, p.sample_rate_hz));
    return sha256_hex(bytes_of(text)).substr(0, kIdDigits);
}

std::string trailer_of(const std::string& front_end, std::string_view index) {
    return fmt::format("{} {:0{}} {} {}", front_end, index.size(), kLengthDigits, sha256_hex(bytes_of(index)), kFormat);
}

/// The index of a whole segment; empty for anything else.
std::string_view index_of(std::span<const std::byte> file, const std::string& front_end) {
    if (file.size() < kTrailerBytes) return {};
    const auto trailer = text_of(file.last(kTrailerBytes));
    const auto before = text_of(file.first(file.size() - kTrailerBytes));
    const auto length = trailer.substr(kIdDigits + 1, kLengthDigits);
    if (length.find_first_not_of("0123456789") != length.npos) return {};
    const auto size = std::strtoull(std::string(length).c_str(), nullptr, 10);
    if (size > before.size()) return {};
    const auto index = before.substr(before.size() - size);
    return trailer == trailer_of(front_end, index) ? index : std::string_view();
}

json to_json(std::span<const WindowScale> scales) {
    json numbers = json::array();
    for (const auto& [lowest_db, highest_db] : scales) {
        numbers.push_back(lowest_db);
        numbers.push_back(highest_db);
    }
    return numbers;
}

std::vector<WindowScale> scales_in(const json& numbers) {
    std::vector<WindowScale> scales;
    for (std::size_t i = 0; i + 1 < numbers.size(); i += 2)
        scales.push_back({.lowest_db = numbers[i], .highest_db = numbers[i + 1]});
    return scales;
}

void remove_abandoned(const std::filesystem::path& folder) {
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        std::error_code error;  // another process may be faster
        if (entry.path().extension() != kUnfinished) continue;
        const auto written = std::filesystem::last_write_time(entry.path(), error);
        if (!error && std::filesystem::file_time_type::clock::now() - written > kAbandonedAfter)
            std::filesystem::remove(entry.path(), error);
    }
}

std::filesystem::path made(std::filesystem::path folder) {
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error) throw std::runtime_error(fmt::format("{}: {}", folder.string(), error.message()));
    return folder;
}

}  // namespace

struct FeatureCache::Entry {
    std::filesystem::path path;
    std::shared_ptr<const MappedFile> segment;
    std::size_t first_row = 0;
    RunFeatures run;  // without its rows
    std::string sha256;
};

struct FeatureCache::Segment {
    DurableFile file;
    json index = json::object();
    std::size_t bytes = 0;
};

FeatureCache::FeatureCache(std::filesystem::path folder, const FrontEnd& front_end)
    : folder_(made(std::move(folder))),
      row_bytes_(front_end.parameters().feature_size() * sizeof(std::uint16_t)),
      front_end_(identify(front_end)) {
    try {
        remove_abandoned(folder_);
        for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
            const auto name = entry.path().filename().string();
            if (!name.starts_with(front_end_) || !name.ends_with(kEnding)) continue;
            try {
                add_segment(entry.path(), std::make_shared<const MappedFile>(entry.path()));
            } catch (const std::runtime_error&) {  // deleted meanwhile, or unreadable: to be made anew
            }
        }
    } catch (const std::filesystem::filesystem_error& error) {
        throw std::runtime_error(fmt::format("{}: {}", folder_.string(), error.code().message()));
    }
}

FeatureCache::~FeatureCache() = default;

void FeatureCache::add_segment(const std::filesystem::path& path, std::shared_ptr<const MappedFile> segment) {
    const auto index = json::parse(index_of(segment->bytes(), front_end_), nullptr, false);
    if (!index.is_object()) return;
    for (const auto& [key, run] : index.items())
        entries_.insert_or_assign(
            key, Entry{.path = path,
                       .segment = segment,
                       .first_row = run.at("row"),
                       .run = {.left_out = run.at("left_out"), .scales = scales_in(run.at("scales")), .rows = {}},
                       .sha256 = run.at("sha256")});
}

std::optional<RunFeatures> FeatureCache::find(const std::string& key) {
    Entry entry;
    {
        const std::lock_guard lock(mutex_);
        const auto found = entries_.find(key);
        if (found == entries_.end()) return std::nullopt;
        entry = found->second;
    }
    const auto file = entry.segment->bytes();
    const auto begin = std::min(file.size(), entry.first_row * row_bytes_);
    const auto rows = file.subspan(begin, std::min(file.size() - begin, entry.run.scales.size() * row_bytes_));
    if (sha256_hex(rows) != entry.sha256) {
        std::error_code error;
        std::filesystem::remove(entry.path, error);
        return std::nullopt;
    }
    entry.run.rows = {entry.segment, reinterpret_cast<const std::uint16_t*>(rows.data())};
    return entry.run;
}

void FeatureCache::add(const std::string& key, const RunFeatures& run) {
    const auto rows = std::as_bytes(std::span(run.rows.get(), run.scales.size() * row_bytes_ / sizeof(std::uint16_t)));
    const auto sha256 = sha256_hex(rows);
    const std::lock_guard lock(mutex_);
    if (!unfinished_) {
        const auto name =
            fmt::format("{}-{:08x}{:08x}{}", front_end_, std::random_device()(), std::random_device()(), kUnfinished);
        unfinished_.reset(new Segment{.file = DurableFile(folder_ / name)});
    }
    unfinished_->file.write(rows);
    unfinished_->index[key] = {{"row", unfinished_->bytes / row_bytes_},
                               {"left_out", run.left_out},
                               {"scales", to_json(run.scales)},
                               {"sha256", sha256}};
    unfinished_->bytes += rows.size();
    if (unfinished_->bytes >= kSegmentBytes) finish_segment();
}

void FeatureCache::finish() {
    const std::lock_guard lock(mutex_);
    if (unfinished_) finish_segment();
}

void FeatureCache::finish_segment() {
    const auto index = unfinished_->index.dump();
    unfinished_->file.write(bytes_of(index));
    unfinished_->file.write(bytes_of(trailer_of(front_end_, index)));
    // Named after what it holds: the same again, by another process, takes its place.
    std::string keys;
    for (const auto& run : unfinished_->index.items()) keys += run.key();
    const auto content = sha256_hex(bytes_of(keys)).substr(0, kIdDigits);
    const auto path = folder_ / fmt::format("{}-{}{}", front_end_, content, kEnding);
    // Mapped before others know of it, and may delete it.
    auto segment = std::make_shared<const MappedFile>(unfinished_->file.path());
    unfinished_->file.keep(path);
    unfinished_.reset();
    add_segment(path, std::move(segment));
}

}  // namespace chorus
