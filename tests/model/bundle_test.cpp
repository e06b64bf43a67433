#include "model/bundle.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>

#include "tests/model/golden_files.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using testing::StartsWith;

/// Valid as far as it can be known without running the network.
Bundle example(std::size_t classes = 42, TensorType type = TensorType::kFloat32) {
    Bundle bundle;
    std::vector<float> weights(classes * 4);
    for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = 0.001F * static_cast<float>(i) - 0.05F;
    bundle.tensors["head.weight"] = to_stored(weights, {static_cast<std::int64_t>(classes), 4}, type);
    bundle.tensors["head.bias"] =
        to_stored(std::vector<float>(classes, 0.5F), {static_cast<std::int64_t>(classes)}, type);
    for (std::size_t i = 0; i < classes; ++i) {
        bundle.labels.push_back({.code = "C" + std::to_string(i),
                                 .name = "Boana è " + std::to_string(i),
                                 .group = i < 4 ? "frequent" : ""});
        bundle.thresholds.push_back(0.1F + 0.01F * static_cast<float>(i));
    }
    bundle.threshold_rule = "best F1 on held-out recordings";
    bundle.metrics = R"({"macro_f1": 0.61, "classes": ["C0"]})";
    bundle.parent = "0123456789abcdef";
    bundle.created = "2026-11-24T00:00:00Z";
    bundle.chorus_version = "0.1.0";
    return bundle;
}

class BundleFile : public testing::Test {
  protected:
    BundleFile() { fs::create_directories(folder); }
    ~BundleFile() override { fs::remove_all(folder); }

    std::vector<std::byte> bytes_of(Bundle bundle) {
        write_bundle(path, bundle);
        return file_bytes(path);
    }

    std::string refusal(std::span<const std::byte> bytes) {
        std::ofstream(path, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), std::ssize(bytes));
        try {
            read_bundle(path);
        } catch (const std::runtime_error& error) {
            EXPECT_THAT(error.what(), StartsWith(path.string() + ": "));
            EXPECT_THAT(error.what(), testing::Not(HasSubstr("\n")));
            return std::string(error.what()).substr(path.string().size() + 2);
        }
        return "accepted";
    }

    /// A good file with its metadata changed by `change`.
    template <typename Change>
    std::string refusal_after(Change change) {
        auto file = parse_safetensors(bytes_of(example()));
        change(file.metadata);
        return refusal(serialise_safetensors(file));
    }

    fs::path folder = fs::path(testing::TempDir()) / ("bundle_" + std::to_string(::getpid()) +
                                                      testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::path path = folder / "bundle.safetensors";
};

TEST_F(BundleFile, ComesBackAsWritten) {
    auto bundle = example();
    bundle.architecture = Architecture::kMobileNetV3Small;
    bundle.front_end.hop = 160;
    bundle.activity = ActivityTable{.recordings = 7, .shifts = std::vector<float>(42 * ActivityTable::kCells, 0.25F)};
    const auto id = write_bundle(path, bundle);
    const auto again = read_bundle(path);
    EXPECT_EQ(again.id, id);
    EXPECT_EQ(bundle.id, id);
    EXPECT_EQ(again.architecture, bundle.architecture);
    EXPECT_EQ(again.front_end, bundle.front_end);
    EXPECT_EQ(again.labels, bundle.labels);
    EXPECT_EQ(again.thresholds, bundle.thresholds);
    EXPECT_EQ(again.threshold_rule, bundle.threshold_rule);
    EXPECT_EQ(again.metrics, bundle.metrics);
    EXPECT_EQ(again.parent, bundle.parent);
    EXPECT_EQ(again.dataset_hash, "");
    EXPECT_EQ(again.created, bundle.created);
    EXPECT_EQ(again.chorus_version, bundle.chorus_version);
    EXPECT_EQ(again.activity, bundle.activity);
    EXPECT_EQ(again.tensors.at("head.weight").bytes, bundle.tensors.at("head.weight").bytes);
}

TEST_F(BundleFile, NeedsNoActivityTable) {
    auto bundle = example();
    write_bundle(path, bundle);
    EXPECT_FALSE(read_bundle(path).activity);
}

TEST_F(BundleFile, IsTheSameBytesEachTime) {
    EXPECT_EQ(bytes_of(example()), bytes_of(example()));
}

TEST_F(BundleFile, IdIsTheFilesHash) {
    const std::string abc = "abc";
    EXPECT_EQ(sha256_hex(std::as_bytes(std::span(abc))),
              "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    EXPECT_EQ(sha256_hex({}), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    auto bundle = example();
    const auto id = write_bundle(path, bundle);
    EXPECT_EQ(id, sha256_hex(file_bytes(path)).substr(0, 16));
}

TEST_F(BundleFile, HalfPrecisionComesBackWithinItsRounding) {
    auto bundle = example(42, TensorType::kFloat16);
    write_bundle(path, bundle);
    const auto wanted = to_float32(example().tensors.at("head.weight"));
    const auto found = to_float32(read_bundle(path).tensors.at("head.weight"));
    for (std::size_t i = 0; i < wanted.size(); ++i)
        EXPECT_NEAR(found[i], wanted[i], std::abs(wanted[i]) * 0x1p-11 + 1e-8);
}

TEST_F(BundleFile, WritingReplacesTheOldFileAndLeavesNothingElse) {
    auto bundle = example();
    write_bundle(path, bundle);
    const auto first = bundle.id;
    bundle.created = "2026-11-25T00:00:00Z";
    EXPECT_NE(write_bundle(path, bundle), first);
    EXPECT_EQ(read_bundle(path).created, bundle.created);
    EXPECT_THAT(std::vector<fs::path>(fs::directory_iterator(folder), {}), testing::SizeIs(1));
    struct stat status {};
    ASSERT_EQ(::stat(path.c_str(), &status), 0);
    EXPECT_EQ(status.st_mode & 0777, 0644U);
}

TEST_F(BundleFile, WritingRefusesWhatCouldNotBeRead) {
    auto bundle = example();
    write_bundle(path, bundle);
    auto broken = example();
    broken.thresholds.pop_back();
    EXPECT_THROW(write_bundle(path, broken), std::runtime_error);
    EXPECT_EQ(read_bundle(path).id, bundle.id);
    EXPECT_THAT(std::vector<fs::path>(fs::directory_iterator(folder), {}), testing::SizeIs(1));
    EXPECT_THROW(write_bundle(folder / "no" / "such" / "folder", bundle), std::runtime_error);
}

TEST_F(BundleFile, RefusesEveryTruncation) {
    const auto bytes = bytes_of(example());
    for (std::size_t size = 0; size < bytes.size(); size += 13) {
        EXPECT_THROW(parse_bundle(std::span(bytes).first(size)), std::runtime_error) << size;
    }
    EXPECT_THAT(refusal(std::span(bytes).first(bytes.size() - 1)), HasSubstr("(is it truncated?)"));
}

TEST_F(BundleFile, AnyFlippedBitIsReadOrRefused) {
    const auto bytes = bytes_of(example(2));
    for (std::size_t bit = 0; bit < bytes.size() * 8; bit += 37) {
        auto flipped = bytes;
        flipped[bit / 8] ^= static_cast<std::byte>(1U << (bit % 8));
        try {
            parse_bundle(flipped);
        } catch (const std::runtime_error&) {
        }
    }
}

TEST_F(BundleFile, RefusesLabelsThatDoNotFitTheHead) {
    auto file = parse_safetensors(bytes_of(example(41)));
    const auto large = example(42);
    file.tensors = large.tensors;
    EXPECT_EQ(refusal(serialise_safetensors(file)), "41 labels for 42 outputs (head.weight)");
}

TEST_F(BundleFile, RefusesAFrontEndThatHearsDifferently) {
    const auto line = refusal_after([](auto& metadata) {
        auto& front_end = metadata["front_end"];
        front_end.replace(front_end.find("8000.0"), 6, "7900.0");
    });
    EXPECT_THAT(line, StartsWith("the front-end's golden vector does not come out: value "));
}

TEST_F(BundleFile, AcceptsAGoldenVectorOfAnotherMachinesRounding) {
    const auto shifted = [&](float by) {
        return refusal_after([&](auto& metadata) {
            auto values = golden_values(FrontEnd(FrontEndParameters{}));
            std::string text = "[";
            for (const float value : values) text += (text.size() > 1 ? "," : "") + std::to_string(value + by);
            metadata["golden"] = text + "]";
        });
    };
    EXPECT_EQ(shifted(0.005F), "accepted");
    EXPECT_THAT(shifted(0.02F), StartsWith("the front-end's golden vector does not come out"));
}

TEST_F(BundleFile, RefusesMetadataThatMakesNoSense) {
    struct Case {
        const char* key;
        const char* value;  // null: the key is taken away
        const char* line;
    };
    const Case cases[] = {
        {"format_version", "2", "format version 2 is newer than 1, the newest that this version of Chorus reads"},
        {"format_version", "0", "format_version 0 is not a version"},
        {"format_version", "1x", "format_version 1x is not a version"},
        {"format_version", "99999999999999999999", "is not a version"},
        {"format_version", nullptr, "not a Chorus bundle"},
        {"must.decrypt", "1", "metadata must.decrypt must be understood, and this version of Chorus does not"},
        {"requires.window_stacking", "3", "metadata requires.window_stacking must be understood"},
        {"architecture", "resnet\n50", "architecture resnet?50 is not known"},
        {"architecture", nullptr, "metadata has no architecture"},
        {"labels", nullptr, "metadata has no labels"},
        {"labels", "{", "metadata labels is not valid JSON"},
        {"labels", "{}", "metadata labels is not a list"},
        {"labels", "[]", "0 labels"},
        {"labels", R"([{"code": 1}])", "a code is not text"},
        {"labels", R"([{"code": "a b"}])", "label \"a b\" is not a code"},
        {"labels", R"([7])", "label \"\" is not a code"},
        {"labels", R"([{"code":"A"},{"code":"A"}])", "label A comes twice"},
        {"labels", R"([{"code":"A"}])", "1 labels for 42 outputs (head.weight)"},
        {"thresholds", "[0.5]", "1 thresholds for 42 outputs (head.weight)"},
        {"thresholds", "[null]", "thresholds holds something that is not a number"},
        {"thresholds", "[1e400]", "metadata thresholds"},
        {"thresholds", "0.5", "thresholds is not a list"},
        {"golden", "[]", "golden has 0 values"},
        {"golden", "[[]]", "golden holds something that is not a number"},
        {"metrics", "[]", "metadata metrics is not an object"},
        {"metrics", "{\"a\":1,\"a\":2}", "metadata metrics names a twice"},
        {"created", "yesterday\x1b[2J", "metadata created has control characters"},
        {"activity", R"({"hours":"utc","recordings":1,"shifts":[]})", "activity: shifts does not have a list for each"},
        {"front_end", "{}", "front_end: sample_rate_hz is missing"},
        {"front_end", "[]", "front_end is not an object"},
    };
    for (const auto& [key, value, line] : cases) {
        const auto found = refusal_after([&key = key, &value = value](auto& metadata) {
            if (value == nullptr)
                metadata.erase(key);
            else
                metadata[key] = value;
        });
        EXPECT_THAT(found, HasSubstr(line)) << key;
    }
    EXPECT_EQ(refusal_after([](auto& metadata) { metadata["comment"] = "kept out"; }), "accepted");
}

TEST_F(BundleFile, RefusesFrontEndsOutOfBounds) {
    const auto with = [&](const std::string& from, const std::string& to) {
        return refusal_after([&](auto& metadata) {
            auto& text = metadata["front_end"];
            text.replace(text.find(from), from.size(), to);
        });
    };
    EXPECT_THAT(with("\"n_fft\":512", "\"n_fft\":1000000"), HasSubstr("n_fft must be a power of two"));
    EXPECT_THAT(with("\"n_fft\":512", "\"n_fft\":1e300"), HasSubstr("not a whole number"));
    EXPECT_THAT(with("\"n_fft\":512", "\"n_fft\":512.5"), HasSubstr("not a whole number"));
    EXPECT_THAT(with("\"n_fft\":512", "\"n_fft\":\"512\""), HasSubstr("n_fft is missing or not a number"));
    EXPECT_THAT(with("\"n_fft\":512", "\"n_fft\":512,\"pcen\":1"),
                HasSubstr("fields that this version of Chorus does not know"));
    EXPECT_THAT(with("\"hop\":128", "\"hop\":129"), HasSubstr("golden"));
}

TEST_F(BundleFile, SaysWhenThereIsNoFile) {
    try {
        read_bundle(folder / "none");
        FAIL();
    } catch (const std::runtime_error& error) {
        EXPECT_EQ(std::string(error.what()), (folder / "none").string() + ": No such file or directory");
    }
    EXPECT_THROW(read_bundle(folder), std::runtime_error);
}

TEST(GoldenValues, AreWhatTheHeaderSays) {
    const auto values = golden_values(FrontEnd(FrontEndParameters{}));
    ASSERT_EQ(values.size(), 64U);
    EXPECT_NEAR(values[0], -100, 1e-3);  // mel 0 has no bin
    for (std::size_t i = 1; i < values.size(); ++i) {
        EXPECT_GT(values[i], -40) << i;
    }
}

}  // namespace
}  // namespace chorus
