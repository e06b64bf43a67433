#pragma once
// A model bundle: one .safetensors file with everything needed to run a model, and to know where it came from.

#include <filesystem>
#include <map>
#include <string>
#include <vector>

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
    std::vector<float> thresholds;   // [labels], a score at or above it is a hit
    std::string threshold_rule;      // how they were chosen, in words or JSON
    std::string metrics;             // JSON object: what evaluation found, with its class set
    std::string parent;              // id of the bundle it was trained from, or empty
    std::string dataset_hash;        // SHA-256 of the training manifest
    std::string created;             // UTC, ISO 8601
    std::string chorus_version;
    std::map<std::string, StoredTensor> tensors;  // torchvision's names; head.weight, head.bias
};

/// Reads and checks everything that can be known without running the network: format, metadata, that labels,
/// thresholds and head agree, and that the front-end's golden vector comes out on this machine.
/// Throws std::runtime_error with one line that begins with the path.
Bundle read_bundle(const std::filesystem::path& path);

/// As read_bundle, of bytes already in memory: what the fuzzer drives.
Bundle parse_bundle(std::span<const std::byte> file);

/// Writes beside `path` and renames over it, so that a reader sees the old file or the new one. Sets and returns the
/// id. Float tensors are stored as they are given (see to_stored).
std::string write_bundle(const std::filesystem::path& path, Bundle& bundle);

/// First 16 hex digits of SHA-256.
std::string bundle_id(std::span<const std::byte> file);
/// All 64 hex digits.
std::string sha256_hex(std::span<const std::byte> data);

}  // namespace chorus
