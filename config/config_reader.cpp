#include "config/config_reader.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <toml++/toml.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <set>
#include <sstream>

namespace chorus {
namespace {

// A configuration is written by hand: anything larger is the wrong file.
constexpr std::uintmax_t kLargestFile = 64 << 10;

int line_of(const toml::node& node) {
    return static_cast<int>(node.source().begin.line);
}

const toml::table& as_table(const void* table) {
    return *static_cast<const toml::table*>(table);
}

std::string join_faults(const std::vector<ConfigFault>& faults) {
    std::string lines;
    for (const auto& fault : faults) {
        if (!lines.empty()) lines += '\n';
        lines += to_string(fault);
    }
    return lines;
}

}  // namespace

struct ConfigDocument::Tree {
    toml::table root;
    std::set<const toml::node*> asked_for;
};

std::string to_string(const ConfigFault& fault) {
    std::string line = fault.file;
    if (fault.line > 0) line += fmt::format(":{}", fault.line);
    if (!fault.key.empty()) line += fmt::format(": {}", fault.key);
    return line + ": " + fault.text;
}

ConfigError::ConfigError(std::vector<ConfigFault> faults)
    : std::runtime_error(join_faults(faults)), faults_(std::move(faults)) {}

ConfigDocument::ConfigDocument(const std::filesystem::path& path) : file_(path.string()), tree_(new Tree) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    if (error) {
        faults_.push_back({file_, 0, "", error.message()});
        return;
    }
    if (size > kLargestFile) {
        faults_.push_back({file_, 0, "", fmt::format("{} bytes are too many for a configuration", size)});
        return;
    }
    std::ifstream stream(path, std::ios::binary);
    std::stringstream text;
    text << stream.rdbuf();
    if (!stream) {
        faults_.push_back({file_, 0, "", "can't be read"});
        return;
    }
    text_ = text.str();
    parse();
}

ConfigDocument::ConfigDocument(std::string_view text, std::string file)
    : file_(std::move(file)), text_(text), tree_(new Tree) {
    parse();
}

ConfigDocument::~ConfigDocument() = default;

void ConfigDocument::parse() {
    try {
        tree_->root = toml::parse(text_, file_);
    } catch (const toml::parse_error& error) {
        faults_.push_back({file_, static_cast<int>(error.source().begin.line), "", std::string(error.description())});
    }
}

void ConfigDocument::throw_if_unreadable() {
    if (!faults_.empty()) throw ConfigError(std::move(faults_));
}

ConfigSection ConfigDocument::root() {
    return {*this, &tree_->root, ""};
}

void ConfigDocument::finish() {
    const auto visit = [&](const auto& self, const toml::node& node, const std::string& path) -> void {
        if (!path.empty() && !tree_->asked_for.contains(&node)) {
            faults_.push_back({file_, line_of(node), path, "unknown key"});
            return;
        }
        if (const auto* table = node.as_table()) {
            for (const auto& [key, child] : *table) {
                self(self, child, path.empty() ? std::string(key.str()) : path + "." + std::string(key.str()));
            }
        } else if (const auto* array = node.as_array()) {
            for (std::size_t i = 0; i < array->size(); ++i) {
                if ((*array)[i].is_table()) self(self, (*array)[i], fmt::format("{}[{}]", path, i));
            }
        }
    };
    visit(visit, tree_->root, "");
    if (faults_.empty()) return;
    std::stable_sort(faults_.begin(), faults_.end(), [](const auto& a, const auto& b) { return a.line < b.line; });
    throw ConfigError(std::move(faults_));
}

bool ConfigSection::has(std::string_view key) const {
    return table_ != nullptr && as_table(table_).contains(key);
}

std::string ConfigSection::path_of(std::string_view key) const {
    if (key.empty()) return path_;
    return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

ConfigFault ConfigSection::note(std::string_view key, std::string text) const {
    const toml::node* at = table_ == nullptr ? nullptr : as_table(table_).get(key);
    if (at == nullptr && table_ != nullptr) at = &as_table(table_);
    return {document_->file_, at == nullptr ? 0 : line_of(*at), path_of(key), std::move(text)};
}

void ConfigSection::fault(std::string_view key, std::string text) {
    document_->faults_.push_back(note(key, std::move(text)));
}

void ConfigSection::warn(std::string_view key, std::string text) {
    document_->warnings_.push_back(note(key, std::move(text)));
}

// The node at `key` if it is there and of the type asked for; a wrong type is noted.
const void* ConfigSection::find(std::string_view key, const char* expected_type, int type) {
    if (table_ == nullptr) return nullptr;
    const toml::node* node = as_table(table_).get(key);
    if (node == nullptr) return nullptr;
    document_->tree_->asked_for.insert(node);
    const auto wanted = static_cast<toml::node_type>(type);
    const bool fits = node->type() == wanted || (wanted == toml::node_type::floating_point && node->is_integer());
    if (!fits) {
        fault(key, fmt::format("must be {}", expected_type));
        return nullptr;
    }
    return node;
}

std::string ConfigSection::text(std::string_view key, std::string fallback) {
    const auto* node = static_cast<const toml::node*>(find(key, "a text in quotes", int(toml::node_type::string)));
    return node == nullptr ? std::move(fallback) : node->as_string()->get();
}

std::string ConfigSection::required_text(std::string_view key) {
    if (!has(key)) {
        fault(key, "is missing");
        return "";
    }
    auto value = text(key, "");
    if (value.empty() && as_table(table_).get(key)->is_string()) fault(key, "must not be empty");
    return value;
}

std::string ConfigSection::required_name(std::string_view key) {
    auto value = required_text(key);
    const auto plain = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    };
    if (!value.empty() && (value.size() > 64 || !std::all_of(value.begin(), value.end(), plain))) {
        fault(key, fmt::format("\"{}\" must be 1 to 64 letters, digits, '_' or '-'", value));
    }
    return value;
}

std::string ConfigSection::choice(std::string_view key, const std::vector<std::string>& choices, std::string fallback) {
    auto value = text(key, fallback);
    if (std::find(choices.begin(), choices.end(), value) != choices.end()) return value;
    fault(key, fmt::format("\"{}\" must be one of {}", value, fmt::join(choices, ", ")));
    return fallback;
}

std::int64_t ConfigSection::integer(std::string_view key, std::int64_t fallback, std::int64_t least,
                                    std::int64_t most) {
    const auto* node = static_cast<const toml::node*>(find(key, "a whole number", int(toml::node_type::integer)));
    if (node == nullptr) return fallback;
    const std::int64_t value = node->as_integer()->get();
    if (value >= least && value <= most) return value;
    fault(key, fmt::format("{} must be from {} to {}", value, least, most));
    return fallback;
}

double ConfigSection::number(std::string_view key, double fallback, double least, double most) {
    const auto* node = static_cast<const toml::node*>(find(key, "a number", int(toml::node_type::floating_point)));
    if (node == nullptr) return fallback;
    const double value = *node->value<double>();
    if (std::isfinite(value) && value >= least && value <= most) return value;
    fault(key, fmt::format("{} must be from {} to {}", value, least, most));
    return fallback;
}

bool ConfigSection::flag(std::string_view key, bool fallback) {
    const auto* node = static_cast<const toml::node*>(find(key, "true or false", int(toml::node_type::boolean)));
    return node == nullptr ? fallback : node->as_boolean()->get();
}

std::vector<std::string> ConfigSection::texts(std::string_view key) {
    std::vector<std::string> values;
    const auto* node = static_cast<const toml::node*>(find(key, "texts in [...]", int(toml::node_type::array)));
    if (node == nullptr) return values;
    for (std::size_t i = 0; i < node->as_array()->size(); ++i) {
        if (const auto* text = (*node->as_array())[i].as_string()) {
            values.push_back(text->get());
        } else {
            fault(key, fmt::format("entry {} must be a text in quotes", i));
        }
    }
    return values;
}

std::map<std::string, double> ConfigSection::numbers(std::string_view key, double least, double most) {
    std::map<std::string, double> values;
    auto table = section(key);
    if (table.table_ == nullptr) return values;
    for (const auto& entry : as_table(table.table_)) {
        const std::string name(entry.first.str());
        values[name] = table.number(name, least, least, most);
    }
    return values;
}

std::map<std::string, std::int64_t> ConfigSection::integers(std::string_view key, std::int64_t least,
                                                            std::int64_t most) {
    std::map<std::string, std::int64_t> values;
    auto table = section(key);
    if (table.table_ == nullptr) return values;
    for (const auto& entry : as_table(table.table_)) {
        const std::string name(entry.first.str());
        values[name] = table.integer(name, least, least, most);
    }
    return values;
}

ConfigSection ConfigSection::section(std::string_view key) {
    const auto* node = static_cast<const toml::node*>(find(key, "a table", int(toml::node_type::table)));
    return {*document_, node == nullptr ? nullptr : node->as_table(), path_of(key)};
}

std::vector<ConfigSection> ConfigSection::sections(std::string_view key) {
    std::vector<ConfigSection> tables;
    const auto* node =
        static_cast<const toml::node*>(find(key, "tables, each begun by [[...]]", int(toml::node_type::array)));
    if (node == nullptr) return tables;
    for (std::size_t i = 0; i < node->as_array()->size(); ++i) {
        const toml::node& child = (*node->as_array())[i];
        document_->tree_->asked_for.insert(&child);
        if (child.is_table()) {
            tables.push_back({*document_, child.as_table(), fmt::format("{}[{}]", path_of(key), i)});
        } else {
            fault(key, fmt::format("entry {} must be a table", i));
        }
    }
    return tables;
}

}  // namespace chorus
