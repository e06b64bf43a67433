#include "daemon/alsa_cards.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <stdexcept>

namespace chorus {
namespace {

// The names of alsa-lib's own configuration that record and whose first argument, if it has no key, is a card.
constexpr std::array<std::string_view, 6> kOfACard = {"hw", "plughw", "default", "sysdefault", "dsnoop", "front"};
constexpr std::string_view kKey = "CARD=";

}  // namespace

std::string alsa_card_of(std::string_view device) {
    const auto colon = device.find(':');
    if (colon == std::string_view::npos) return "";
    const auto name = device.substr(0, colon);
    auto rest = device.substr(colon + 1);
    const auto first = rest.substr(0, rest.find(','));
    while (!rest.empty()) {
        const auto argument = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(argument.size() + 1, rest.size()));
        if (argument.starts_with(kKey)) return std::string(argument.substr(kKey.size()));
    }
    const bool takes_card = std::find(kOfACard.begin(), kOfACard.end(), name) != kOfACard.end();
    return takes_card && first.find_first_of("=/") == std::string_view::npos ? std::string(first) : "";
}

bool is_card_number(std::string_view card) {
    return !card.empty() && card.find_first_not_of("0123456789") == std::string_view::npos;
}

// " 1 [UMC404HD       ]: USB-Audio - UMC404HD 192k" and a second line that says where it is plugged in.
std::vector<std::string> parse_alsa_cards(std::string_view text) {
    std::vector<std::string> cards;
    while (!text.empty()) {
        const auto line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(line.size() + 1, text.size()));
        const auto open = line.find('[');
        const auto close = line.find("]:");
        if (open == std::string_view::npos || close == std::string_view::npos || close < open) continue;
        if (line.substr(0, open).find_first_not_of(" 0123456789") != std::string_view::npos) continue;
        auto name = line.substr(open + 1, close - open - 1);
        name = name.substr(0, name.find(' '));
        if (!name.empty()) cards.emplace_back(name);
    }
    return cards;
}

void require_alsa_card(const std::string& card, const std::filesystem::path& list) {
    std::ifstream file(list);
    std::string text(64 << 10, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    text.resize(static_cast<std::size_t>(std::max<std::streamsize>(file.gcount(), 0)));
    const auto cards = parse_alsa_cards(text);
    if (std::find(cards.begin(), cards.end(), card) != cards.end()) return;
    throw std::runtime_error(
        cards.empty() ? fmt::format("the sound card {} is not there, nor is any other", card)
                      : fmt::format("the sound card {} is not there; there are: {}", card, fmt::join(cards, ", ")));
}

}  // namespace chorus
