#pragma once
// Reads TOML configuration so that every fault is found in one go and said as "file:line: key: what is wrong".
// Both programs use it; what the keys mean is theirs.

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

struct ConfigFault {
    std::string file;
    int line = 0;     // 0: the key is missing, or the file as a whole
    std::string key;  // dotted, for example source[1].name; empty: the file as a whole
    std::string text;
};

std::string to_string(const ConfigFault& fault);

/// All faults of a configuration; what() is one line each.
class ConfigError : public std::runtime_error {
  public:
    explicit ConfigError(std::vector<ConfigFault> faults);
    const std::vector<ConfigFault>& faults() const { return faults_; }

  private:
    std::vector<ConfigFault> faults_;
};

class ConfigDocument;

/// One table of a document. A getter returns its fallback where the key is absent, and where the value is wrong, which
/// is noted as a fault. Valid as long as its document.
class ConfigSection {
  public:
    bool has(std::string_view key) const;
    std::string text(std::string_view key, std::string fallback);
    std::string required_text(std::string_view key);
    /// Letters, digits, '_' and '-', 1 to 64 of them: what may be a part of a topic and a label of a metric.
    std::string required_name(std::string_view key);
    /// One of `choices`.
    std::string choice(std::string_view key, const std::vector<std::string>& choices, std::string fallback);
    std::int64_t integer(std::string_view key, std::int64_t fallback, std::int64_t least, std::int64_t most);
    double number(std::string_view key, double fallback, double least, double most);
    bool flag(std::string_view key, bool fallback);
    /// An array of texts, empty where absent.
    std::vector<std::string> texts(std::string_view key);
    /// A table whose keys the user chooses, each with a number from least to most.
    std::map<std::string, double> numbers(std::string_view key, double least, double most);
    /// The same with whole numbers.
    std::map<std::string, std::int64_t> integers(std::string_view key, std::int64_t least, std::int64_t most);

    /// A sub-table; all its getters give fallbacks where it is absent.
    ConfigSection section(std::string_view key);
    /// [[key]]: an array of tables, empty where absent.
    std::vector<ConfigSection> sections(std::string_view key);

    /// Notes a fault at this key's line; without a key, at the section's.
    void fault(std::string_view key, std::string text);
    /// Notes at this key's line what is allowed but unwise.
    void warn(std::string_view key, std::string text);

  private:
    friend class ConfigDocument;
    ConfigSection(ConfigDocument& document, const void* table, std::string path)
        : document_(&document), table_(table), path_(std::move(path)) {}
    const void* find(std::string_view key, const char* expected_type, int type);
    std::string path_of(std::string_view key) const;
    ConfigFault note(std::string_view key, std::string text) const;

    ConfigDocument* document_;
    const void* table_;  // toml::table, or null where the section is absent
    std::string path_;
};

class ConfigDocument {
  public:
    /// A file that can't be read or isn't TOML becomes a fault, too.
    explicit ConfigDocument(const std::filesystem::path& path);
    /// From text; `file` is what faults name.
    ConfigDocument(std::string_view text, std::string file);
    ~ConfigDocument();
    ConfigDocument(const ConfigDocument&) = delete;
    ConfigDocument& operator=(const ConfigDocument&) = delete;

    ConfigSection root();
    /// All of it, as it was read.
    const std::string& text() const { return text_; }

    /// Throws ConfigError if the text could not be read or is not TOML: then nothing else is worth saying.
    void throw_if_unreadable();

    /// After everything was read: keys nobody asked for are faults. Throws ConfigError if there is any fault.
    void finish();

    /// What was warned of, so far.
    const std::vector<ConfigFault>& warnings() const { return warnings_; }

  private:
    friend class ConfigSection;
    struct Tree;
    void parse();

    std::string file_;
    std::string text_;
    std::unique_ptr<Tree> tree_;
    std::vector<ConfigFault> faults_;
    std::vector<ConfigFault> warnings_;
};

}  // namespace chorus
