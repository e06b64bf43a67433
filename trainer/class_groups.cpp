#include "trainer/class_groups.h"

#include <algorithm>

namespace chorus {
namespace {

bool holds(const std::vector<std::string>& list, const std::string& code) {
    return std::find(list.begin(), list.end(), code) != list.end();
}

std::string group_of(const std::string& code, int positives, std::size_t clips, const GroupOptions& options) {
    if (!options.frequent.empty() || !options.common.empty()) {
        if (holds(options.frequent, code)) return "frequent";
        return holds(options.common, code) ? "common" : "rare";
    }
    const double all = static_cast<double>(clips);
    if (positives >= options.frequent_share * all) return "frequent";
    return positives >= options.common_share * all ? "common" : "rare";
}

}  // namespace

std::vector<std::string> class_groups(std::span<const std::string> codes, const std::map<std::string, Species>& species,
                                      std::span<const int> positives, std::size_t clips, const GroupOptions& options) {
    std::vector<std::string> groups;
    for (std::size_t c = 0; c < codes.size(); ++c) {
        const auto known = species.find(codes[c]);
        const bool is_named = known != species.end() && !known->second.group.empty();
        groups.push_back(is_named ? known->second.group : group_of(codes[c], positives[c], clips, options));
    }
    return groups;
}

}  // namespace chorus
