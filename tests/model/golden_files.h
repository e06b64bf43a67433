#pragma once
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>
#include <vector>

#include "model/safetensors.h"

namespace chorus {

inline std::vector<std::byte> file_bytes(const std::filesystem::path& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("no test file " + path.string());
    const std::string text(std::istreambuf_iterator<char>(in), {});
    const auto* begin = reinterpret_cast<const std::byte*>(text.data());
    return {begin, begin + text.size()};
}

inline SafetensorsFile golden_file(const std::string& name) {
    return parse_safetensors(file_bytes(std::filesystem::path(CHORUS_TEST_DATA) / name));
}

inline std::vector<float> golden(const SafetensorsFile& file, const std::string& name) {
    return to_float32(file.tensors.at(name));
}

}  // namespace chorus
