#pragma once
// The safetensors file format: 8 bytes little-endian header length N | N bytes JSON | tensor bytes.
//   header   = { "__metadata__": { string: string }, NAME: { "dtype": D, "shape": [n...], "data_offsets": [a, b] }, ...
//   }
// Offsets count from the end of the header; tensors fill the file without holes or overlaps. Nothing in it can execute.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace chorus {

enum class TensorType { kFloat16, kFloat32, kInt64 };

struct StoredTensor {
    TensorType type = TensorType::kFloat32;
    std::vector<std::int64_t> shape;
    std::vector<std::byte> bytes;  // row-major, little-endian
};

struct SafetensorsFile {
    std::map<std::string, std::string> metadata;
    std::map<std::string, StoredTensor> tensors;
};

/// Every length, offset, shape and type is checked against the file before it is used; throws std::runtime_error with
/// one line that says what is wrong.
SafetensorsFile parse_safetensors(std::span<const std::byte> file);
std::vector<std::byte> serialise_safetensors(const SafetensorsFile& file);

/// Values as float32 whatever the stored type (half precision is widened); throws std::runtime_error for integers.
std::vector<float> to_float32(const StoredTensor& tensor);
/// float32 values stored in `type` (kFloat16 rounds to nearest even).
StoredTensor to_stored(std::span<const float> values, std::vector<std::int64_t> shape, TensorType type);

}  // namespace chorus
