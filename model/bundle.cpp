#include "model/bundle.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstring>
#include <fstream>
#include <numbers>
#include <set>
#include <stdexcept>
#include <system_error>

#include "model/bounded_json.h"

namespace chorus {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::uintmax_t kMaxFileBytes = std::uintmax_t{1} << 30;
constexpr std::size_t kMaxLabels = 65536;
constexpr std::size_t kMaxLabelText = 256;
constexpr int kMaxDepth = 4;
constexpr int kMaxMetricsDepth = 16;
constexpr double kGoldenTolerance = 0.01;  // dB

std::runtime_error failure(const std::string& line) {
    return std::runtime_error(line);
}

bool has_control_characters(const std::string& text) {
    return std::ranges::any_of(text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}

bool is_code(const std::string& code) {
    constexpr std::string_view kOthers = "_-";
    return !code.empty() && code.size() <= kMaxLabelText && std::ranges::all_of(code, [&](char c) {
        return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
               kOthers.find(c) != std::string_view::npos;
    });
}

/// The metadata of one file; says which field is at fault.
class Fields {
  public:
    explicit Fields(const std::map<std::string, std::string>& metadata) : metadata_(metadata) {}

    const std::string& text(const std::string& key) const {
        const auto found = metadata_.find(key);
        if (found == metadata_.end()) throw failure("metadata has no " + key);
        return found->second;
    }

    std::string optional_text(const std::string& key) const {
        const auto found = metadata_.find(key);
        if (found == metadata_.end()) return {};
        if (has_control_characters(found->second)) throw failure("metadata " + key + " has control characters");
        return found->second;
    }

    json parsed(const std::string& key) const { return parse_bounded_json(text(key), kMaxDepth, "metadata " + key); }

  private:
    const std::map<std::string, std::string>& metadata_;
};

Architecture parse_architecture(const std::string& name) {
    for (const auto architecture : {Architecture::kMobileNetV3Large, Architecture::kMobileNetV3Small}) {
        if (name == to_string(architecture)) return architecture;
    }
    throw failure("architecture " + shown(name) + " is not known");
}

void check_version(const Fields& fields, const std::map<std::string, std::string>& metadata) {
    if (!metadata.contains("format_version")) throw failure("not a Chorus bundle (metadata has no format_version)");
    const auto& text = fields.text("format_version");
    int version = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), version);
    if (error != std::errc{} || end != text.data() + text.size() || version < 1) {
        throw failure("format_version " + shown(text) + " is not a version");
    }
    if (version > Bundle::kFormatVersion) {
        throw failure(fmt::format("format version {} is newer than {}, the newest that this version of Chorus reads",
                                  version, Bundle::kFormatVersion));
    }
    for (const auto& [key, value] : metadata) {
        if (key.starts_with("must.") || key.starts_with("requires.")) {
            throw failure("metadata " + shown(key) + " must be understood, and this version of Chorus does not");
        }
    }
}

/// One list of the front-end's fields, for reading and for writing.
template <typename Parameters, typename Visit>
void for_each_front_end_field(Parameters& p, Visit visit) {
    visit("sample_rate_hz", p.sample_rate_hz);
    visit("window_seconds", p.window_seconds);
    visit("n_fft", p.n_fft);
    visit("hop", p.hop);
    visit("mels", p.mels);
    visit("f_min_hz", p.f_min_hz);
    visit("f_max_hz", p.f_max_hz);
    visit("log_floor", p.log_floor);
}

void assign(double& field, const json& value) {
    field = value.get<double>();
}

void assign(int& field, const json& value) {
    const double number = value.get<double>();
    if (number != std::floor(number) || std::abs(number) > 1e9) throw failure("metadata front_end: not a whole number");
    field = static_cast<int>(number);
}

FrontEndParameters parse_front_end(const json& value) {
    if (!value.is_object()) throw failure("metadata front_end is not an object");
    FrontEndParameters parameters;
    std::size_t known = 0;
    for_each_front_end_field(parameters, [&](const char* name, auto& field) {
        const auto found = value.find(name);
        if (found == value.end() || !found->is_number()) {
            throw failure(std::string("metadata front_end: ") + name + " is missing or not a number");
        }
        assign(field, *found);
        ++known;
    });
    if (known != value.size()) throw failure("metadata front_end has fields that this version of Chorus does not know");
    return parameters;
}

std::vector<float> parse_numbers(const json& value, const std::string& key) {
    if (!value.is_array()) throw failure("metadata " + key + " is not a list");
    std::vector<float> numbers;
    for (const auto& item : value) {
        if (!item.is_number() || !(std::abs(item.get<double>()) < 1e30)) {
            throw failure("metadata " + key + " holds something that is not a number");
        }
        numbers.push_back(item.get<float>());
    }
    return numbers;
}

std::vector<Label> parse_labels(const json& value) {
    if (!value.is_array()) throw failure("metadata labels is not a list");
    std::vector<Label> labels;
    for (const auto& item : value) {
        Label label;
        for (auto [key, field] : {std::pair{"code", &label.code}, {"name", &label.name}, {"group", &label.group}}) {
            const auto found = item.is_object() ? item.find(key) : item.end();
            if (found == item.end()) continue;
            if (!found->is_string()) throw failure(std::string("metadata labels: a ") + key + " is not text");
            *field = found->get<std::string>();
        }
        labels.push_back(std::move(label));
    }
    return labels;
}

void check_labels(const std::vector<Label>& labels) {
    if (labels.empty() || labels.size() > kMaxLabels) throw failure(fmt::format("{} labels", labels.size()));
    std::set<std::string> codes;
    for (const auto& label : labels) {
        if (!is_code(label.code)) {
            throw failure("label \"" + shown(label.code) + "\" is not a code of letters, digits, '_' and '-'");
        }
        if (!codes.insert(label.code).second) throw failure("label " + label.code + " comes twice");
        for (const auto& text : {label.name, label.group}) {
            if (text.size() > kMaxLabelText || has_control_characters(text)) {
                throw failure("label " + label.code + " has a name or group that is too long or not text");
            }
        }
    }
}

/// Labels, thresholds and the head say the same number of classes.
void check_head(const Bundle& bundle) {
    const auto weight = bundle.tensors.find("head.weight");
    const auto bias = bundle.tensors.find("head.bias");
    if (weight == bundle.tensors.end()) throw failure("tensor head.weight is missing");
    if (bias == bundle.tensors.end()) throw failure("tensor head.bias is missing");
    if (weight->second.shape.size() != 2) throw failure("head.weight is not a matrix");
    const auto outputs = static_cast<std::uint64_t>(weight->second.shape[0]);
    if (bundle.labels.size() != outputs) {
        throw failure(fmt::format("{} labels for {} outputs (head.weight)", bundle.labels.size(), outputs));
    }
    if (bundle.thresholds.size() != outputs) {
        throw failure(fmt::format("{} thresholds for {} outputs (head.weight)", bundle.thresholds.size(), outputs));
    }
    if (bias->second.shape != std::vector<std::int64_t>{weight->second.shape[0]}) {
        throw failure(fmt::format("head.bias does not have {} values", outputs));
    }
    for (std::size_t i = 0; i < bundle.labels.size(); ++i) {
        if (!(bundle.thresholds[i] >= 0 && bundle.thresholds[i] <= 1)) {
            throw failure(
                fmt::format("threshold {} of {} is not in 0..1", bundle.thresholds[i], bundle.labels[i].code));
        }
    }
}

void check_golden(const FrontEnd& front_end, const std::vector<float>& stored) {
    const auto computed = golden_values(front_end);
    if (stored.size() != computed.size()) throw failure(fmt::format("golden has {} values", stored.size()));
    const double floor = 10 * std::log10(front_end.parameters().log_floor) + 1;
    for (std::size_t i = 0; i < computed.size(); ++i) {
        if (computed[i] <= floor && stored[i] <= floor) continue;
        if (std::abs(double{computed[i]} - stored[i]) <= kGoldenTolerance) continue;
        throw failure(
            fmt::format("the front-end's golden vector does not come out: value {} is {:.4f} dB, stored {:.4f}", i,
                        computed[i], stored[i]));
    }
}

std::vector<std::byte> serialise(const Bundle& bundle) {
    json front_end = json::object();
    for_each_front_end_field(bundle.front_end, [&](const char* name, auto value) { front_end[name] = value; });
    json labels = json::array();
    for (const auto& label : bundle.labels) {
        labels.push_back({{"code", label.code}, {"name", label.name}, {"group", label.group}});
    }
    SafetensorsFile file{.metadata = {{"format_version", std::to_string(Bundle::kFormatVersion)},
                                      {"architecture", to_string(bundle.architecture)},
                                      {"front_end", front_end.dump()},
                                      {"golden", json(golden_values(FrontEnd(bundle.front_end))).dump()},
                                      {"labels", labels.dump()},
                                      {"thresholds", json(bundle.thresholds).dump()}},
                         .tensors = bundle.tensors};
    for (const auto& [key, text] : {std::pair{"threshold_rule", bundle.threshold_rule},
                                    {"metrics", bundle.metrics},
                                    {"parent", bundle.parent},
                                    {"dataset_hash", bundle.dataset_hash},
                                    {"created", bundle.created},
                                    {"chorus_version", bundle.chorus_version}}) {
        if (!text.empty()) file.metadata.emplace(key, text);
    }
    if (bundle.activity) file.metadata.emplace("activity", to_metadata(*bundle.activity));
    return serialise_safetensors(file);
}

std::vector<std::byte> read_file(const fs::path& path) {
    std::error_code error;
    const auto size = fs::file_size(path, error);
    if (error) throw failure(error.message());
    if (size > kMaxFileBytes) throw failure("larger than 1 GiB");
    std::vector<std::byte> bytes(static_cast<std::size_t>(size));
    std::ifstream in(path, std::ios::binary);
    in.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    if (!in) throw failure("can't be read");
    return bytes;
}

[[noreturn]] void throw_errno(const char* what) {
    throw failure(std::string(what) + ": " + std::system_category().message(errno));
}

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    int get() const { return fd_; }

  private:
    int fd_;
};

void write_durably(int fd, std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
        const auto written = ::write(fd, bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_errno("write");
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
    if (::fchmod(fd, 0644) != 0) throw_errno("chmod");  // the daemon reads what the trainer's user wrote
    if (::fsync(fd) != 0) throw_errno("fsync");
}

void replace_file(const fs::path& path, std::span<const std::byte> bytes) {
    const auto folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    auto temporary = (folder / fmt::format(".{}.XXXXXX", path.filename().string())).string();
    const Descriptor file(::mkstemp(temporary.data()));
    if (file.get() < 0) throw_errno("temporary file");
    try {
        write_durably(file.get(), bytes);
        fs::rename(temporary, path);
    } catch (...) {
        ::unlink(temporary.c_str());
        throw;
    }
    const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (directory.get() < 0 || ::fsync(directory.get()) != 0) throw_errno("fsync of its folder");
}

/// Runs `action`; whatever it throws becomes one line that begins with the path.
template <typename Action>
auto with_path(const fs::path& path, Action action) {
    try {
        return action();
    } catch (const std::exception& error) {
        throw failure(path.string() + ": " + error.what());
    }
}

}  // namespace

std::string to_string(Architecture architecture) {
    return architecture == Architecture::kMobileNetV3Large ? "mobilenet_v3_large" : "mobilenet_v3_small";
}

bool has_class(const Bundle& bundle, std::string_view code) {
    return std::ranges::any_of(bundle.labels, [&](const Label& label) { return label.code == code; });
}

std::vector<float> golden_values(const FrontEnd& front_end) {
    const auto& p = front_end.parameters();
    std::vector<float> signal(static_cast<std::size_t>(p.window_samples()));
    for (std::size_t n = 0; n < signal.size(); ++n) {
        const auto t = static_cast<double>(n);
        const auto hiss = static_cast<std::uint32_t>(2654435769U * n * n);
        signal[n] =
            static_cast<float>(0.3 * std::sin(std::numbers::pi * t * t / (2.0 * p.window_samples())) +
                               0.2 * std::sin(0.05 * t) + 0.1 * std::sin(1.1 * t) + 0.02 * (hiss * 0x1p-32 - 0.5));
    }
    std::vector<float> features(p.feature_size());
    front_end.log_mel(signal, features);
    std::vector<float> values;
    for (int i = 0; i < kGoldenValues; ++i) {
        const int mel = 37 * i % p.mels;
        const int frame = 101 * i % p.frames();
        values.push_back(features[static_cast<std::size_t>(mel) * static_cast<std::size_t>(p.frames()) +
                                  static_cast<std::size_t>(frame)]);
    }
    return values;
}

Bundle parse_bundle(std::span<const std::byte> bytes) try {
    auto file = parse_safetensors(bytes);
    const Fields fields(file.metadata);
    check_version(fields, file.metadata);

    Bundle bundle;
    bundle.architecture = parse_architecture(fields.text("architecture"));
    bundle.front_end = parse_front_end(fields.parsed("front_end"));
    bundle.labels = parse_labels(fields.parsed("labels"));
    bundle.thresholds = parse_numbers(fields.parsed("thresholds"), "thresholds");
    bundle.threshold_rule = fields.optional_text("threshold_rule");
    bundle.metrics = fields.optional_text("metrics");
    bundle.parent = fields.optional_text("parent");
    bundle.dataset_hash = fields.optional_text("dataset_hash");
    bundle.created = fields.optional_text("created");
    bundle.chorus_version = fields.optional_text("chorus_version");
    bundle.tensors = std::move(file.tensors);

    check_labels(bundle.labels);
    check_head(bundle);
    if (!bundle.metrics.empty() &&
        !parse_bounded_json(bundle.metrics, kMaxMetricsDepth, "metadata metrics").is_object()) {
        throw failure("metadata metrics is not an object");
    }
    if (file.metadata.contains("activity"))
        bundle.activity = parse_activity_table(fields.text("activity"), bundle.labels.size());
    check_golden(FrontEnd(bundle.front_end), parse_numbers(fields.parsed("golden"), "golden"));
    bundle.id = bundle_id(bytes);
    return bundle;
} catch (const std::invalid_argument& error) {
    throw failure(error.what());
}

Bundle read_bundle(const fs::path& path) {
    return with_path(path, [&] { return parse_bundle(read_file(path)); });
}

std::string write_bundle(const fs::path& path, Bundle& bundle) {
    return with_path(path, [&] {
        const auto bytes = serialise(bundle);
        parse_bundle(bytes);  // what could not be read again is never written
        replace_file(path, bytes);
        bundle.id = bundle_id(bytes);
        return bundle.id;
    });
}

}  // namespace chorus
