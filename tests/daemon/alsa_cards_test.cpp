#include "daemon/alsa_cards.h"

#include <gmock/gmock.h>

#include <fstream>

#include "daemon/source_opener.h"

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr const char* kCards =
    " 0 [PCH            ]: HDA-Intel - HDA Intel PCH\n"
    "                      HDA Intel PCH at 0xf7e10000 irq 31\n"
    " 1 [UMC404HD       ]: USB-Audio - UMC404HD 192k\n"
    "                      BEHRINGER UMC404HD 192k at usb-0000:00:14.0-2, high speed\n";

TEST(AlsaCards, AreFoundInADevicesName) {
    EXPECT_EQ(alsa_card_of("hw:CARD=UMC404HD"), "UMC404HD");
    EXPECT_EQ(alsa_card_of("plughw:CARD=UMC404HD,DEV=0"), "UMC404HD");
    EXPECT_EQ(alsa_card_of("hw:UMC404HD,0"), "UMC404HD");
    EXPECT_EQ(alsa_card_of("hw:1,0"), "1");
    EXPECT_EQ(alsa_card_of("dsnoop:CARD=UMC404HD,DEV=0"), "UMC404HD");
    EXPECT_EQ(alsa_card_of("front:UMC404HD"), "UMC404HD");
    EXPECT_EQ(alsa_card_of("hw:DEV=0,CARD=UMC404HD"), "UMC404HD");
    EXPECT_TRUE(is_card_number("12"));
    EXPECT_FALSE(is_card_number("U1"));
    EXPECT_FALSE(is_card_number(""));
}

TEST(AlsaCards, AreNotSoughtWhereOnlyAlsaKnowsWhatTheNameMeans) {
    for (const char* device :
         {"default", "", "hw:", "hw:DEV=1", "hw:/dev/snd/controlC1", "plughw:DEV=0", "plughw:", "plug:mixed",
          "plug:SLAVE=x", "plug:'hw:CARD=UMC404HD'", "plug:SLAVE='hw:CARD=UMC404HD'", "pulse:alsa_input.usb",
          "jack:capture", "dsnooped:2", "array:FIRST=a,SECOND=b"})
        EXPECT_EQ(alsa_card_of(device), "") << device;
}

TEST(AlsaCards, AreReadFromTheKernelsList) {
    EXPECT_THAT(parse_alsa_cards(kCards), ElementsAre("PCH", "UMC404HD"));
    EXPECT_THAT(parse_alsa_cards("--- no soundcards ---\n"), IsEmpty());
    for (const char* text : {"", "\n", "[", "]:[", " 0 []: x", "0 [", "x [PCH ]: y"})
        EXPECT_THAT(parse_alsa_cards(text), IsEmpty()) << text;
}

TEST(AlsaCards, SaysWhichCardIsMissingAndWhichAreThere) {
    const auto list = std::filesystem::path(testing::TempDir()) / "chorus_cards";
    std::ofstream(list) << kCards;
    EXPECT_NO_THROW(require_alsa_card("UMC404HD", list));
    const auto fault = [](const std::string& card, const std::filesystem::path& path) -> std::string {
        try {
            require_alsa_card(card, path);
        } catch (const std::runtime_error& error) {
            return error.what();
        }
        return "";
    };
    EXPECT_EQ(fault("UMC", list), "the sound card UMC is not there; there are: PCH, UMC404HD");
    EXPECT_EQ(fault("UMC", "/nowhere"), "the sound card UMC is not there, nor is any other");
    std::filesystem::remove(list);
}

TEST(OpenSource, NamesTheSourceWhoseCardIsMissing) {
    SourceConfig config;
    config.name = "mic";
    config.alsa_card = "NoSuchCard";
    config.launch = "alsasrc device=\"hw:CARD=NoSuchCard\"";
    try {
        open_source(config);
        FAIL() << "a missing card must be said";
    } catch (const std::runtime_error& error) {
        EXPECT_THAT(error.what(), HasSubstr("mic: the sound card NoSuchCard is not there"));
    }
}

}  // namespace
}  // namespace chorus
