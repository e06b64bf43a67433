#include "model/bounded_json.h"

#include <set>
#include <stdexcept>
#include <vector>

namespace chorus {

nlohmann::json parse_bounded_json(std::string_view text, int max_depth, const std::string& what) {
    std::vector<std::set<std::string>> keys;
    const auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
        using Event = nlohmann::json::parse_event_t;
        if (depth > max_depth) throw std::runtime_error(what + " is nested too deeply");
        if (event == Event::object_start) keys.emplace_back();
        if (event == Event::object_end) keys.pop_back();
        if (event == Event::key && !keys.back().insert(parsed.get<std::string>()).second) {
            throw std::runtime_error(what + " names " + shown(parsed.get<std::string>()) + " twice");
        }
        return true;
    };
    try {
        return nlohmann::json::parse(text, check);
    } catch (const nlohmann::json::exception&) {
        throw std::runtime_error(what + " is not valid JSON");
    }
}

std::string shown(std::string name) {
    for (auto& c : name) {
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
    }
    return name.size() <= 100 ? name : name.substr(0, 100) + "...";
}

}  // namespace chorus
