#include "model/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

namespace chorus {
namespace {

using testing::HasSubstr;

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes, std::uint64_t stated_length) {
    std::vector<std::byte> file(8 + header.size() + data_bytes);
    std::memcpy(file.data(), &stated_length, 8);
    std::memcpy(file.data() + 8, header.data(), header.size());
    return file;
}

std::vector<std::byte> file_of(const std::string& header, std::size_t data_bytes = 0) {
    return file_of(header, data_bytes, header.size());
}

std::string refusal(std::span<const std::byte> file) {
    try {
        parse_safetensors(file);
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "accepted";
}

SafetensorsFile small_file() {
    return {
        .metadata = {{"who", "a \"quoted\"\nname"}, {"empty", ""}},
        .tensors = {
            {"b.weight", to_stored(std::vector<float>{1, -2, 3.5F, 0, 1e-30F, -0.0F}, {2, 3}, TensorType::kFloat32)},
            {"a.half", to_stored(std::vector<float>{1, 2, 3}, {3}, TensorType::kFloat16)},
            {"count", {.type = TensorType::kInt64, .shape = {}, .bytes = std::vector<std::byte>(8, std::byte{7})}},
            {"none", to_stored({}, {0, 4}, TensorType::kFloat32)}}};
}

TEST(Safetensors, ComesBackAsWritten) {
    const auto file = small_file();
    const auto bytes = serialise_safetensors(file);
    const auto again = parse_safetensors(bytes);
    EXPECT_EQ(again.metadata, file.metadata);
    ASSERT_EQ(again.tensors.size(), file.tensors.size());
    for (const auto& [name, tensor] : file.tensors) {
        EXPECT_EQ(again.tensors.at(name).type, tensor.type) << name;
        EXPECT_EQ(again.tensors.at(name).shape, tensor.shape) << name;
        EXPECT_EQ(again.tensors.at(name).bytes, tensor.bytes) << name;
    }
    EXPECT_EQ(serialise_safetensors(again), bytes);
}

TEST(Safetensors, DataBeginsAtAMultipleOfEightBytes) {
    for (int length = 0; length < 9; ++length) {
        const auto bytes = serialise_safetensors(
            {.metadata = {{"k", std::string(static_cast<std::size_t>(length), 'x')}}, .tensors = {}});
        EXPECT_EQ(bytes.size() % 8, 0U);
    }
}

TEST(Safetensors, RefusesMalformedFilesInOneLine) {
    const std::string f32 = R"("dtype":"F32",)";
    const std::string whole = R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
    struct Case {
        std::vector<std::byte> file;
        const char* line;
    };
    const Case cases[] = {
        {{}, "too short"},
        {file_of("", 0, 1), "truncated inside the header"},
        {file_of(whole, 8, whole.size() + 9), "truncated inside the header"},
        {file_of(whole, 8, std::numeric_limits<std::uint64_t>::max()), "longer than 16 MiB"},
        {file_of(whole, 8, (16U << 20) + 1), "longer than 16 MiB"},
        {file_of("[]"), "not a JSON object"},
        {file_of("{"), "not valid JSON"},
        {file_of("{} {}"), "not valid JSON"},
        {file_of("{\"\xFF\":1}"), "not valid JSON"},
        {file_of(std::string(100000, '[')), "nested too deeply"},
        {file_of(R"({"a":[[[[[1]]]]]})"), "nested too deeply"},
        {file_of(R"({"a":1})"), "does not have exactly"},
        {file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "does not have exactly"},
        {file_of(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":1}})", 8), "does not have exactly"},
        {file_of(R"({"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})", 4), "a type other than"},
        {file_of(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,4]}})", 4), "a type other than"},
        {file_of("{\"a\":{" + f32 + R"("shape":2,"data_offsets":[0,8]}})", 8), "malformed shape"},
        {file_of("{\"a\":{" + f32 + R"("shape":[1,1,1,1,1,1,1,1,2],"data_offsets":[0,8]}})", 8), "malformed shape"},
        {file_of("{\"a\":{" + f32 + R"("shape":[-2],"data_offsets":[0,8]}})", 8), "not a whole number"},
        {file_of("{\"a\":{" + f32 + R"("shape":[2.0],"data_offsets":[0,8]}})", 8), "not a whole number"},
        {file_of("{\"a\":{" + f32 + R"("shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8),
         "larger than the file"},
        {file_of("{\"a\":{" + f32 + R"("shape":[0,18446744073709551615],"data_offsets":[0,0]}})"),
         "larger than the file"},
        {file_of("{\"a\":{" + f32 + R"("shape":[2],"data_offsets":[0]}})", 8), "malformed data_offsets"},
        {file_of("{\"a\":{" + f32 + R"("shape":[2],"data_offsets":[8,0]}})", 8), "outside the file"},
        {file_of("{\"a\":{" + f32 + R"("shape":[2],"data_offsets":[0,8]}})", 7), "outside the file"},
        {file_of("{\"a\":{" + f32 + R"("shape":[1],"data_offsets":[0,8]}})", 8), "8 bytes, its shape and type want 4"},
        {file_of("{\"a\":{" + f32 + R"("shape":[1],"data_offsets":[4,8]}})", 8), "leaves a hole or overlaps"},
        {file_of(whole, 9), "1 bytes after the last tensor"},
        {file_of("{\"a\":{" + f32 + R"("shape":[1],"data_offsets":[0,4]},"b":{)" + f32 +
                     R"("shape":[1],"data_offsets":[0,4]}})",
                 4),
         "leaves a hole or overlaps"},
        {file_of("{\"a\":{" + f32 + R"("shape":[1],"data_offsets":[0,4]},"a":{)" + f32 +
                     R"("shape":[1],"data_offsets":[0,4]}})",
                 4),
         "names a twice"},
        {file_of(R"({"__metadata__":{"k":"1","k":"2"}})"), "names k twice"},
        {file_of(R"({"__metadata__":{"k":1}})"), "k is not a string"},
        {file_of(R"({"__metadata__":[]})"), "not an object"},
        {file_of("{\"a\\nb\":1}"), "tensor a?b"},
    };
    EXPECT_EQ(refusal(file_of(whole, 8)), "accepted");
    for (const auto& [file, line] : cases) {
        const auto found = refusal(file);
        EXPECT_THAT(found, HasSubstr(line));
        EXPECT_EQ(found.find('\n'), std::string::npos) << found;
    }
}

TEST(Safetensors, RefusesEveryTruncation) {
    const auto bytes = serialise_safetensors(small_file());
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        EXPECT_NE(refusal(std::span(bytes).first(size)), "accepted") << size;
    }
}

TEST(Safetensors, AnyFlippedBitIsReadOrRefused) {
    const auto bytes = serialise_safetensors(small_file());
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < bytes.size() * 8; ++bit) {
        auto flipped = bytes;
        flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        if (refusal(flipped) != "accepted") ++refused;
    }
    EXPECT_GT(refused, bytes.size() * 2);
}

TEST(Safetensors, EveryHalfPrecisionValueComesBack) {
    for (unsigned half = 0; half <= 0xFFFF; ++half) {
        StoredTensor tensor{.type = TensorType::kFloat16, .shape = {1}, .bytes = std::vector<std::byte>(2)};
        std::memcpy(tensor.bytes.data(), &half, 2);
        const auto value = to_float32(tensor);
        const auto again = to_stored(value, {1}, TensorType::kFloat16);
        if (std::isnan(value[0])) {
            EXPECT_TRUE(std::isnan(to_float32(again)[0]));
        } else {
            ASSERT_EQ(again.bytes, tensor.bytes) << half;
        }
    }
}

TEST(Safetensors, HalfPrecisionRoundsToTheNearestAndTiesToEven) {
    const auto rounded = [](float value) { return to_float32(to_stored({&value, 1}, {1}, TensorType::kFloat16))[0]; };
    const float inf = std::numeric_limits<float>::infinity();
    EXPECT_EQ(rounded(1 + 0x1p-11F), 1.0F);
    EXPECT_EQ(rounded(1 + 3 * 0x1p-11F), 1 + 2 * 0x1p-10F);
    EXPECT_EQ(rounded(1 + 1.01F * 0x1p-11F), 1 + 0x1p-10F);
    EXPECT_EQ(rounded(65519.0F), 65504.0F);
    EXPECT_EQ(rounded(65520.0F), inf);
    EXPECT_EQ(rounded(-1e30F), -inf);
    EXPECT_EQ(rounded(0x1p-24F), 0x1p-24F);
    EXPECT_EQ(rounded(0x1p-25F), 0.0F);
    EXPECT_EQ(rounded(1.01F * 0x1p-25F), 0x1p-24F);
    EXPECT_EQ(rounded(3 * 0x1p-25F), 2 * 0x1p-24F);
    EXPECT_EQ(rounded(0x1p-14F - 0x1p-26F), 0x1p-14F);
    EXPECT_TRUE(std::signbit(rounded(-1e-20F)));
    std::mt19937 random(3);
    std::uniform_real_distribution<float> values(-70, 70);
    for (int i = 0; i < 10000; ++i) {
        const float value = values(random);
        const float spacing = std::ldexp(1.0F, std::max(std::ilogb(value), -14) - 10);
        EXPECT_LE(std::abs(rounded(value) - value), spacing / 2) << value;
    }
}

TEST(Safetensors, IntegersAreNotFloats) {
    EXPECT_THROW(to_float32(small_file().tensors.at("count")), std::runtime_error);
    EXPECT_THROW(to_stored({}, {0}, TensorType::kInt64), std::invalid_argument);
}

}  // namespace
}  // namespace chorus
