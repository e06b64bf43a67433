#pragma once
// A model bundle: one .safetensors file with everything needed to run a model, and to know where it came from.
//
// Its __metadata__ (all values strings):
//   format_version   "1"
//   architecture     "mobilenet_v3_large" | "mobilenet_v3_small"
//   front_end        JSON object, the fields of FrontEndParameters, all of them and no others
//   golden           JSON array of kGoldenValues numbers, see golden_values()
//   labels           JSON array of { "code", "name", "group" }, in the order of head.weight's rows
//   thresholds       JSON array of numbers in 0..1, in the same order
//   threshold_rule, parent, dataset_hash, created, chorus_version   text, may be absent
//   metrics          JSON object, may be absent
//   activity         JSON object, see activity_table.h, may be absent
// A key that begins with "must." or "requires." is one that a reader must understand; this version knows none and
// refuses them. Any other unknown key is passed over. All text is UTF-8 without control characters.

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "model/activity_table.h"
#include "model/front_end.h"
#include "model/safetensors.h"

namespace chorus {

enum class Architecture { kMobileNetV3Large, kMobileNetV3Small };

std::string to_string(Architecture architecture);  // "mobilenet_v3_large", "mobilenet_v3_small"

struct Label {
    std::string code;   // short and unique, for example BOAALB; letters, digits, '_' and '-'
    std::string name;   // scientific name, may be empty
    std::string group;  // for example "rare"; may be empty
    bool operator==(const Label&) const = default;
};

struct Bundle {
    static constexpr int kFormatVersion = 1;

    std::string id;  // first 16 hex digits of the file's SHA-256; set by read_bundle and write_bundle

    Architecture architecture = Architecture::kMobileNetV3Large;
    FrontEndParameters front_end;
    std::vector<Label> labels;
    std::vector<float> thresholds;  // [labels], 0..1, a score at or above it is a hit
    std::string threshold_rule;     // how they were chosen, in words or JSON
    std::string metrics;            // JSON object: what evaluation found, with its class set
    std::string parent;             // id of the bundle it was trained from, or empty
    std::string dataset_hash;       // SHA-256 of the training manifest
    std::string created;            // UTC, ISO 8601
    std::string chorus_version;
    std::optional<ActivityTable> activity;        // where enough of the recordings trained on were dated
    std::map<std::string, StoredTensor> tensors;  // torchvision's names; head.weight, head.bias
};

/// Whether it knows a class of this code.
bool has_class(const Bundle& bundle, std::string_view code);

/// The front-end's answer to a known sound, by which a reader knows that it hears what the writer heard: log_mel() in
/// dB at positions i = 0..kGoldenValues-1, mel 37 i mod mels, frame 101 i mod frames, of
///   x[n] = 0.3 sin(pi n^2 / (2 N)) + 0.2 sin(0.05 n) + 0.1 sin(1.1 n) + 0.02 (u[n] / 2^32 - 0.5)
/// with N the samples of a window and u[n] = 2654435769 n^2 mod 2^32: a chirp over the whole band, two tones, a hiss.
/// A reader's values agree to 0.01 dB, or are at the floor with the writer's.
inline constexpr int kGoldenValues = 64;
std::vector<float> golden_values(const FrontEnd& front_end);

/// Reads and checks everything that can be known without running the network: format, metadata, that labels,
/// thresholds and head agree, and that the front-end's golden vector comes out on this machine.
/// Throws std::runtime_error with one line that begins with the path.
Bundle read_bundle(const std::filesystem::path& path);

/// As read_bundle, of bytes already in memory: what the fuzzer drives.
Bundle parse_bundle(std::span<const std::byte> file);

/// Writes beside `path` and renames over it, so that a reader sees the old file or the new one. Sets and returns the
/// id. Float tensors are stored as they are given (see to_stored). Refuses, as read_bundle would, what does not agree.
std::string write_bundle(const std::filesystem::path& path, Bundle& bundle);

/// First 16 hex digits of SHA-256.
std::string bundle_id(std::span<const std::byte> file);
/// All 64 hex digits.
std::string sha256_hex(std::span<const std::byte> data);
/// The same of a file of any length. Throws std::runtime_error with one line that begins with the path.
std::string sha256_hex_of_file(const std::filesystem::path& path);

}  // namespace chorus
