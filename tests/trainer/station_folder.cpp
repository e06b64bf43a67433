#include "tests/trainer/station_folder.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>

namespace chorus {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

void StationFolder::add_sound(const std::string& name, double seconds, int channels, const std::string& content) {
    constexpr int kRate = 8000;
    const auto& seed = content.empty() ? name : content;
    std::seed_seq seeds(seed.begin(), seed.end());
    std::mt19937 random(seeds);
    std::vector<float> samples(static_cast<std::size_t>(seconds * kRate) * static_cast<std::size_t>(channels));
    for (auto& sample : samples) sample = static_cast<float>(random() % 1000) / 10'000.0F;
    write_wav(folders_.station / name, samples, kRate, channels);
}

void StationFolder::drop(const std::string& name, std::string_view text) {
    write_text(folders_.inbox() / name, text);
    fs::last_write_time(folders_.inbox() / name, written_ += std::chrono::seconds(1));
}

std::vector<std::string> StationFolder::files(const std::string& below) const {
    std::vector<std::string> names;
    const auto top = folders_.station / below;
    if (!fs::is_directory(top)) return names;
    for (const auto& entry : fs::recursive_directory_iterator(top))
        if (entry.is_regular_file() && entry.path().filename() != "import.lock")
            names.push_back(entry.path().lexically_relative(top).string());
    std::sort(names.begin(), names.end());
    return names;
}

std::map<std::string, std::string> StationFolder::contents() const {
    std::map<std::string, std::string> contents;
    for (const auto& name : files()) {
        auto& text = contents[name] = text_of(folders_.station / name);
        if (!name.ends_with("history.jsonl")) continue;
        std::istringstream lines(std::exchange(text, ""));
        for (std::string line; std::getline(lines, line);) {
            auto import = nlohmann::json::parse(line);
            import.erase("utc");
            text += import.dump() + '\n';
        }
    }
    return contents;
}

std::vector<std::string> StationFolder::labels() const {
    std::vector<std::string> rows;
    std::istringstream lines(text_of(folders_.dataset() / "labels.csv"));
    std::string line;
    std::getline(lines, line);
    while (std::getline(lines, line)) rows.push_back(line.substr(line.rfind('/', line.find(',')) + 1));
    std::sort(rows.begin(), rows.end());
    return rows;
}

}  // namespace chorus
