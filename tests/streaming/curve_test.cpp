#include "streaming/curve.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <stdexcept>

namespace chorus {
namespace {

using testing::HasSubstr;
using testing::Pair;
using testing::UnorderedElementsAre;

std::string message_of(const std::function<void()>& action) {
    try {
        action();
    } catch (const std::runtime_error& error) {
        return error.what();
    }
    return "";
}

TEST(CurveKeys, AreMadeInPairsThatBelongTogether) {
    const auto first = make_curve_key_pair();
    const auto second = make_curve_key_pair();
    EXPECT_TRUE(is_curve_key(first.public_key));
    EXPECT_TRUE(is_curve_key(first.secret_key));
    EXPECT_NE(first.secret_key, second.secret_key);
    EXPECT_EQ(parse_secret_key(first.secret_key).public_key, first.public_key);
}

TEST(CurveKeys, AreFortyCharactersOfZ85) {
    const auto key = make_curve_key_pair().public_key;
    EXPECT_FALSE(is_curve_key(""));
    EXPECT_FALSE(is_curve_key(key.substr(1)));
    EXPECT_FALSE(is_curve_key(key + "0"));
    EXPECT_FALSE(is_curve_key(key.substr(1) + "~"));
    EXPECT_FALSE(is_curve_key(std::string(40, '\xff')));
    EXPECT_FALSE(is_curve_key(std::string(40, '\0')));
    EXPECT_FALSE(is_curve_key("#" + std::string(39, '0'))) << "a comment's first character begins no key";
}

TEST(SecretKeyFile, HoldsOneKeyAndComments) {
    const auto pair = make_curve_key_pair();
    const auto read = parse_secret_key("# of pond-7\n#\n\n  " + pair.secret_key + "  \r\n# end");
    EXPECT_EQ(read.secret_key, pair.secret_key);
    EXPECT_EQ(read.public_key, pair.public_key);
}

TEST(SecretKeyFile, SaysWhatIsWrongWithoutQuotingIt) {
    const auto secret = make_curve_key_pair().secret_key;
    for (const auto& [text, expected] :
         std::vector<std::pair<std::string, std::string>>{{"", "holds 0 keys"},
                                                          {secret + "\n" + secret, "holds 2 keys"},
                                                          {"# key\n" + secret + "0", "line 2: is no key"},
                                                          {secret + " name", "line 1: is no key"}}) {
        const auto message = message_of([&, &text = text] { parse_secret_key(text); });
        EXPECT_THAT(message, HasSubstr(expected));
        EXPECT_THAT(message, testing::Not(HasSubstr(secret)));
    }
}

TEST(AllowList, NamesItsKeys) {
    const auto a = make_curve_key_pair().public_key;
    const auto b = make_curve_key_pair().public_key;
    EXPECT_THAT(parse_allow_list("# who may listen\n#" + b + "\n" + a + "\tthe lab, second floor\r\n\n" + b),
                UnorderedElementsAre(Pair(a, "the lab, second floor"), Pair(b, b)));
    EXPECT_TRUE(parse_allow_list("").empty());
}

TEST(AllowList, NamesTheLineThatIsWrong) {
    const auto key = make_curve_key_pair().public_key;
    const auto fault = [](const std::string& text) { return message_of([&] { parse_allow_list(text); }); };
    EXPECT_THAT(fault("# x\nnonsense"), HasSubstr("line 2: must begin with a key"));
    EXPECT_THAT(fault(key + "\n" + key), HasSubstr("line 2: this key is there already"));
    EXPECT_THAT(fault(key + " " + std::string(65, 'x')), HasSubstr("line 1: the name"));
    EXPECT_THAT(fault(key + " a\x1b[0m"), HasSubstr("line 1: the name"));
}

}  // namespace
}  // namespace chorus
