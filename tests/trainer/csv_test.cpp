#include "trainer/csv.h"

#include <gmock/gmock.h>

namespace chorus {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<std::vector<std::string>> read_all(std::string_view text) {
    std::vector<std::vector<std::string>> records;
    CsvReader reader(text);
    for (std::vector<std::string> fields; reader.next(fields);) records.push_back(fields);
    return records;
}

TEST(CsvReader, ReadsPlainAndEmptyFields) {
    EXPECT_THAT(read_all("a,b,c\n1,,3\n,,\n"),
                ElementsAre(ElementsAre("a", "b", "c"), ElementsAre("1", "", "3"), ElementsAre("", "", "")));
}

TEST(CsvReader, KeepsCommasQuotesAndLineBreaksInsideQuotes) {
    EXPECT_THAT(read_all("\"a,b\",\"say \"\"hi\"\"\",\"two\nlines\"\nnext,x,y"),
                ElementsAre(ElementsAre("a,b", "say \"hi\"", "two\nlines"), ElementsAre("next", "x", "y")));
}

TEST(CsvReader, AcceptsCarriageReturnsAByteOrderMarkAndEmptyLines) {
    EXPECT_THAT(read_all("\xEF\xBB\xBF"
                         "a,\"b\"\r\n\r\n1,2\r\n\n"),
                ElementsAre(ElementsAre("a", "b"), ElementsAre("1", "2")));
}

TEST(CsvReader, GivesOneEmptyFieldAfterATrailingComma) {
    EXPECT_THAT(read_all("a,"), ElementsAre(ElementsAre("a", "")));
    EXPECT_THAT(read_all("a,\nb,\n"), ElementsAre(ElementsAre("a", ""), ElementsAre("b", "")));
}

TEST(CsvReader, CountsLinesThroughQuotedLineBreaks) {
    CsvReader reader("a\n\"x\ny\"\nb\n");
    std::vector<std::string> fields;
    std::vector<int> lines;
    while (reader.next(fields)) lines.push_back(reader.line());
    EXPECT_THAT(lines, ElementsAre(1, 2, 4));
}

TEST(CsvReader, NamesTheLineOfAnOpenQuote) {
    EXPECT_THAT([] { read_all("a\n\"b\nc\n"); }, testing::ThrowsMessage<std::runtime_error>(HasSubstr("line 2")));
    EXPECT_THAT([] { read_all("\"a\"b,c\n"); }, testing::ThrowsMessage<std::runtime_error>(HasSubstr("line 1")));
}

TEST(CsvReader, FindsNothingInEmptyText) {
    EXPECT_TRUE(read_all("").empty());
    EXPECT_TRUE(read_all("\r\n\n").empty());
}

}  // namespace
}  // namespace chorus
