#include "config/config_reader.h"

#include <gmock/gmock.h>

#include "config/program.h"

namespace chorus {
namespace {

using testing::ElementsAre;

std::vector<std::string> faults_of(ConfigDocument& document) {
    try {
        document.finish();
    } catch (const ConfigError& error) {
        std::vector<std::string> lines;
        for (const auto& fault : error.faults()) lines.push_back(to_string(fault));
        return lines;
    }
    return {};
}

TEST(ConfigReader, GivesValuesAndFallbacks) {
    ConfigDocument document("a = 'x'\n[t]\nn = 3\nr = 2\nf = true\n[t.free]\nA = 0.5\nB = 1\n", "c.toml");
    auto root = document.root();
    EXPECT_EQ(root.text("a", ""), "x");
    EXPECT_EQ(root.text("b", "fallback"), "fallback");
    auto table = root.section("t");
    EXPECT_EQ(table.integer("n", 0, 0, 10), 3);
    EXPECT_EQ(table.number("r", 0, 0, 10), 2.0);
    EXPECT_TRUE(table.flag("f", false));
    EXPECT_EQ(table.numbers("free", 0, 1), (std::map<std::string, double>{{"A", 0.5}, {"B", 1.0}}));
    EXPECT_EQ(root.section("absent").integer("n", 7, 0, 10), 7);
    EXPECT_TRUE(faults_of(document).empty());
}

TEST(ConfigReader, SaysEveryFaultWithFileLineAndKey) {
    ConfigDocument document("a = 1\n[t]\nn = 30\nr = 'x'\nunknown = 1\n[[s]]\nname = 'bad name'\n[[s]]\n", "c.toml");
    auto root = document.root();
    root.text("a", "");
    auto table = root.section("t");
    EXPECT_EQ(table.integer("n", 4, 0, 10), 4);
    table.number("r", 0, 0, 10);
    for (auto& section : root.sections("s")) section.required_name("name");
    EXPECT_THAT(faults_of(document),
                ElementsAre("c.toml:1: a: must be a text in quotes", "c.toml:3: t.n: 30 must be from 0 to 10",
                            "c.toml:4: t.r: must be a number", "c.toml:5: t.unknown: unknown key",
                            "c.toml:7: s[0].name: \"bad name\" must be 1 to 64 letters, digits, '_' or '-'",
                            "c.toml:8: s[1].name: is missing"));
}

TEST(ConfigReader, NamesTheLineThatIsNotToml) {
    ConfigDocument document("a = 1\nb = = 2\n", "c.toml");
    const auto faults = faults_of(document);
    ASSERT_EQ(faults.size(), 1U);
    EXPECT_TRUE(faults[0].starts_with("c.toml:2: ")) << faults[0];
}

TEST(ConfigReader, NamesAFileThatCannotBeRead) {
    ConfigDocument document(std::filesystem::path("/nonexistent/c.toml"));
    EXPECT_THAT(faults_of(document), ElementsAre("/nonexistent/c.toml: No such file or directory"));
}

TEST(Program, TellsNestedExceptionsAsOneSentence) {
    try {
        try {
            throw std::runtime_error("the disk is full");
        } catch (...) {
            std::throw_with_nested(std::runtime_error("cannot write x"));
        }
    } catch (...) {
        EXPECT_EQ(current_exception_message(), "cannot write x: the disk is full");
    }
}

}  // namespace
}  // namespace chorus
