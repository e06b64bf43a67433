#include "model/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <stdexcept>

#include "model/bounded_json.h"

namespace chorus {
namespace {

static_assert(std::endian::native == std::endian::little, "tensor bytes are used as they lie in the file");

constexpr std::size_t kLengthBytes = 8;
constexpr std::size_t kMaxHeaderBytes = std::size_t{16} << 20;
constexpr std::size_t kMaxFileBytes = std::size_t{1} << 30;
constexpr std::size_t kMaxRank = 8;
constexpr int kMaxDepth = 4;
constexpr const char* kMetadataKey = "__metadata__";

struct TypeName {
    TensorType type;
    const char* name;
    std::size_t bytes;
};
constexpr TypeName kTypes[] = {
    {TensorType::kFloat16, "F16", 2}, {TensorType::kFloat32, "F32", 4}, {TensorType::kInt64, "I64", 8}};

const TypeName& type_name(TensorType type) {
    return *std::ranges::find(kTypes, type, &TypeName::type);
}

std::uint64_t whole_number(const nlohmann::json& value, const std::string& what) {
    if (!value.is_number_unsigned()) throw std::runtime_error(what + " is not a whole number");
    return value.get<std::uint64_t>();
}

struct Entry {
    std::string name;
    TensorType type;
    std::vector<std::int64_t> shape;
    std::uint64_t begin;
    std::uint64_t end;
};

Entry parse_entry(const std::string& name, const nlohmann::json& value, std::uint64_t data_bytes) {
    const auto tensor = "tensor " + shown(name);
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value.contains("shape") ||
        !value.contains("data_offsets")) {
        throw std::runtime_error(tensor + " does not have exactly dtype, shape and data_offsets");
    }
    const auto& dtype = value["dtype"];
    const auto type = std::ranges::find_if(kTypes, [&](const TypeName& t) { return dtype == t.name; });
    if (type == std::end(kTypes)) {
        throw std::runtime_error(tensor + " has a type other than F16, F32 and I64: " + shown(dtype.dump()));
    }
    Entry entry{.name = name, .type = type->type, .shape = {}, .begin = 0, .end = 0};
    const auto& offsets = value["data_offsets"];
    if (!offsets.is_array() || offsets.size() != 2) throw std::runtime_error(tensor + " has malformed data_offsets");
    entry.begin = whole_number(offsets[0], tensor + ": an offset");
    entry.end = whole_number(offsets[1], tensor + ": an offset");
    if (entry.begin > entry.end || entry.end > data_bytes) {
        throw std::runtime_error(tensor + " lies outside the file (is it truncated?)");
    }
    const auto& shape = value["shape"];
    if (!shape.is_array() || shape.size() > kMaxRank) throw std::runtime_error(tensor + " has a malformed shape");
    std::uint64_t bytes = type->bytes;
    for (const auto& dimension : shape) {
        const auto size = whole_number(dimension, tensor + ": a dimension");
        if (size > data_bytes || (size != 0 && bytes > data_bytes / size)) {
            throw std::runtime_error(tensor + " is larger than the file");
        }
        bytes *= size;
        entry.shape.push_back(static_cast<std::int64_t>(size));
    }
    if (entry.end - entry.begin != bytes) {
        throw std::runtime_error(
            fmt::format("{} has {} bytes, its shape and type want {}", tensor, entry.end - entry.begin, bytes));
    }
    return entry;
}

float half_to_float(std::uint16_t half) {
    const std::uint32_t sign = static_cast<std::uint32_t>(half & 0x8000U) << 16;
    const std::uint32_t exponent = (half >> 10) & 0x1FU;
    const std::uint32_t mantissa = half & 0x3FFU;
    if (exponent == 0) {  // zero or subnormal: mantissa * 2^-24
        const float magnitude = static_cast<float>(mantissa) * 0x1p-24F;
        return sign != 0 ? -magnitude : magnitude;
    }
    const std::uint32_t widened = exponent == 0x1F ? 0xFFU : exponent + 112;
    return std::bit_cast<float>(sign | widened << 23 | mantissa << 13);
}

std::uint16_t float_to_half(float value) {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>(bits >> 16 & 0x8000U);
    const std::uint32_t magnitude = bits & 0x7FFFFFFFU;
    if (magnitude > 0x7F800000U) return sign | 0x7E00U;   // not a number
    if (magnitude >= 0x477FF000U) return sign | 0x7C00U;  // rounds beyond 65504
    std::uint32_t rounded;
    std::uint32_t dropped_bits;
    if (magnitude >= 0x38800000U) {  // normal in half precision
        dropped_bits = 13;
        rounded = magnitude - (112U << 23);
    } else {
        const std::uint32_t exponent = magnitude >> 23;
        if (exponent < 102) return sign;  // below half of the smallest subnormal
        rounded = (magnitude & 0x7FFFFFU) | 0x800000U;
        dropped_bits = 126 - exponent;
    }
    const std::uint32_t kept = rounded >> dropped_bits;
    const std::uint32_t rest = rounded & ((1U << dropped_bits) - 1);
    const std::uint32_t half = 1U << (dropped_bits - 1);
    const bool up = rest > half || (rest == half && (kept & 1U) != 0);
    return static_cast<std::uint16_t>(sign | (kept + (up ? 1U : 0U)));
}

std::size_t element_count(const StoredTensor& tensor) {
    return tensor.bytes.size() / type_name(tensor.type).bytes;
}

}  // namespace

SafetensorsFile parse_safetensors(std::span<const std::byte> file) {
    if (file.size() > kMaxFileBytes) throw std::runtime_error("larger than 1 GiB");
    if (file.size() < kLengthBytes) throw std::runtime_error("too short for a safetensors file");
    std::uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, file.data(), kLengthBytes);
    if (header_bytes > kMaxHeaderBytes)
        throw std::runtime_error("header is longer than 16 MiB: not a safetensors file");
    if (header_bytes > file.size() - kLengthBytes) throw std::runtime_error("truncated inside the header");

    const auto* const text = reinterpret_cast<const char*>(file.data()) + kLengthBytes;
    const auto header = parse_bounded_json({text, static_cast<std::size_t>(header_bytes)}, kMaxDepth, "header");
    if (!header.is_object()) throw std::runtime_error("header is not a JSON object");
    const auto data = file.subspan(kLengthBytes + static_cast<std::size_t>(header_bytes));

    SafetensorsFile result;
    std::vector<Entry> entries;
    for (const auto& [key, value] : header.items()) {
        if (key != kMetadataKey) {
            entries.push_back(parse_entry(key, value, data.size()));
            continue;
        }
        if (!value.is_object()) throw std::runtime_error("__metadata__ is not an object");
        for (const auto& [name, text_value] : value.items()) {
            if (!text_value.is_string()) throw std::runtime_error("__metadata__: " + shown(name) + " is not a string");
            result.metadata.emplace(name, text_value.get<std::string>());
        }
    }

    std::ranges::sort(entries, {}, [](const Entry& entry) { return std::pair(entry.begin, entry.end); });
    std::uint64_t covered = 0;
    for (const auto& entry : entries) {
        if (entry.begin != covered)
            throw std::runtime_error("tensor " + shown(entry.name) + " leaves a hole or overlaps");
        covered = entry.end;
    }
    if (covered != data.size()) {
        throw std::runtime_error(fmt::format("{} bytes after the last tensor", data.size() - covered));
    }
    for (auto& entry : entries) {
        const auto bytes =
            data.subspan(static_cast<std::size_t>(entry.begin), static_cast<std::size_t>(entry.end - entry.begin));
        result.tensors.emplace(
            std::move(entry.name),
            StoredTensor{.type = entry.type, .shape = std::move(entry.shape), .bytes = {bytes.begin(), bytes.end()}});
    }
    return result;
}

std::vector<std::byte> serialise_safetensors(const SafetensorsFile& file) {
    // Widest elements first, so that each tensor lies at a multiple of its element's size.
    std::vector<const std::pair<const std::string, StoredTensor>*> order;
    for (const auto& item : file.tensors) order.push_back(&item);
    std::ranges::stable_sort(order, std::greater{},
                             [](const auto* item) { return type_name(item->second.type).bytes; });

    nlohmann::json header = nlohmann::json::object();
    if (!file.metadata.empty()) header[kMetadataKey] = file.metadata;
    std::size_t offset = 0;
    for (const auto* item : order) {
        const auto& [name, tensor] = *item;
        if (name == kMetadataKey) throw std::runtime_error("a tensor may not be named __metadata__");
        header[name] = {{"dtype", type_name(tensor.type).name},
                        {"shape", tensor.shape},
                        {"data_offsets", {offset, offset + tensor.bytes.size()}}};
        offset += tensor.bytes.size();
    }
    std::string text;
    try {
        text = header.dump();
    } catch (const nlohmann::json::exception&) {
        throw std::runtime_error("names and metadata must be UTF-8");
    }
    text.resize((text.size() + 7) / 8 * 8, ' ');

    std::vector<std::byte> bytes(kLengthBytes + text.size() + offset);
    const std::uint64_t header_bytes = text.size();
    std::memcpy(bytes.data(), &header_bytes, kLengthBytes);
    std::memcpy(bytes.data() + kLengthBytes, text.data(), text.size());
    auto out = bytes.begin() + static_cast<std::ptrdiff_t>(kLengthBytes + text.size());
    for (const auto* item : order) out = std::ranges::copy(item->second.bytes, out).out;
    return bytes;
}

std::vector<float> to_float32(const StoredTensor& tensor) {
    std::vector<float> values(element_count(tensor));
    switch (tensor.type) {
        case TensorType::kFloat32:
            if (!values.empty()) std::memcpy(values.data(), tensor.bytes.data(), values.size() * sizeof(float));
            return values;
        case TensorType::kFloat16:
            for (std::size_t i = 0; i < values.size(); ++i) {
                std::uint16_t half = 0;
                std::memcpy(&half, tensor.bytes.data() + i * sizeof half, sizeof half);
                values[i] = half_to_float(half);
            }
            return values;
        case TensorType::kInt64:
            break;
    }
    throw std::runtime_error("an integer tensor stands where floats are wanted");
}

StoredTensor to_stored(std::span<const float> values, std::vector<std::int64_t> shape, TensorType type) {
    if (type == TensorType::kInt64) throw std::invalid_argument("floats can't be stored as integers");
    StoredTensor tensor{.type = type, .shape = std::move(shape), .bytes = {}};
    tensor.bytes.resize(values.size() * type_name(type).bytes);
    if (values.empty()) return tensor;
    if (type == TensorType::kFloat32) {
        std::memcpy(tensor.bytes.data(), values.data(), tensor.bytes.size());
        return tensor;
    }
    for (std::size_t i = 0; i < values.size(); ++i) {
        const auto half = float_to_half(values[i]);
        std::memcpy(tensor.bytes.data() + i * sizeof half, &half, sizeof half);
    }
    return tensor;
}

}  // namespace chorus
