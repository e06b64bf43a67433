#pragma once
// Frequent, common and rare classes: the three groups figures are given for beside the whole.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "trainer/dataset.h"

namespace chorus {

/// The lists go before the shares: with either of them given, a class that isn't listed is rare.
struct GroupOptions {
    std::vector<std::string> frequent = {};  // codes
    std::vector<std::string> common = {};
    double frequent_share = 0.1;  // of the training clips that hold a class, at least
    double common_share = 0.02;

    bool operator==(const GroupOptions&) const = default;
};

/// "frequent", "common" or "rare" for each class; what the dataset's own species.csv says goes before all. positives:
/// [classes], clips of the training subset that hold it; clips: how many that subset has.
std::vector<std::string> class_groups(std::span<const std::string> codes, const std::map<std::string, Species>& species,
                                      std::span<const int> positives, std::size_t clips, const GroupOptions& options);

}  // namespace chorus
