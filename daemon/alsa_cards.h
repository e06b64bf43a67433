#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace chorus {

/// The card in the name of an ALSA device, "UMC404HD" of "hw:CARD=UMC404HD,DEV=0" and "1" of "hw:1,0"; empty where the
/// device names none ("default") or only ALSA's configuration knows what it is ("plug:mixed").
std::string alsa_card_of(std::string_view device);

/// A card's number, which changes as cards come and go.
bool is_card_number(std::string_view card);

/// The names of /proc/asound/cards.
std::vector<std::string> parse_alsa_cards(std::string_view text);

/// Throws std::runtime_error naming the card and those that are there, unless it is one of them.
void require_alsa_card(const std::string& card, const std::filesystem::path& list = "/proc/asound/cards");

}  // namespace chorus
