#include "lib/file/strict_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

using nlohmann::json;

TEST(StrictJson, BuildsWhatTheTextSays) {
  const json value = ParseStrictJson(
      R"({"a": {"b": [1, -2, 2.5, [true, null], {"c": "\u00e9"}]}, "d": 18446744073709551615})",
      "doc");
  EXPECT_EQ(value["a"]["b"][0], 1);
  EXPECT_TRUE(value["a"]["b"][0].is_number_unsigned());
  EXPECT_EQ(value["a"]["b"][1], -2);
  EXPECT_EQ(value["a"]["b"][2], 2.5);
  EXPECT_EQ(value["a"]["b"][3], json::parse("[true, null]"));
  EXPECT_EQ(value["a"]["b"][4]["c"], "\xc3\xa9");
  EXPECT_EQ(value["d"].get<uint64_t>(), UINT64_MAX);
  EXPECT_EQ(value.size(), 2u);
  EXPECT_EQ(ParseStrictJson("3", "doc"), 3);
  // The same key in different objects is no duplicate.
  EXPECT_EQ(ParseStrictJson(R"({"a": {"a": 1}, "b": {"a": [{"a": 2}, {"a": 3}]}})", "doc").size(),
            2u);
}

TEST(StrictJson, NamesTheKeyThatComesTwice) {
  const auto refusal = [](const std::string& text) {
    return Refusal([&] { ParseStrictJson(text, "doc"); });
  };
  const std::string rest = ": got the same key twice in one object, want it once";
  EXPECT_EQ(refusal(R"({"a": 1, "a": 1})"), "a" + rest);
  EXPECT_EQ(refusal(R"({"m": {"rule": "x", "b": 2, "rule": "x"}})"), "m.rule" + rest);
  EXPECT_EQ(refusal(R"({"m": 1, "n": {"o": [1, {"p": {}, "p": 0}]}})"), "n.o.p" + rest);
  EXPECT_EQ(refusal(R"({"a": {"b": 1}, "c": 2, "a": 3})"), "a" + rest);
  EXPECT_EQ(refusal(R"({"a": 1, "\u0061": 1})"), "a" + rest);
  EXPECT_EQ(refusal(R"({"": 1, "": 1})"), "doc" + rest);
  EXPECT_EQ(refusal(R"({"\n\u001b": 1, "\n\u001b": 1})"), "\\x0a\\x1b" + rest);
}

TEST(StrictJson, RefusesWhatIsNotOneStrictValue) {
  const std::string cases[] = {
      "", " ", "{", "}", "{]", "[1,]", "{\"a\":1,}", "{'a':1}", "{\"a\" 1}", "{} {}", "{}x", "nul",
      "NaN", "[NaN]", "[Infinity]", "[-Infinity]", "[1e999]", "[-1e999]", "[01]", "[+1]", "[.5]",
      "[1.]", "[0x10]", "// c\n1", "/* c */ 1", "\"\n\"", "\"\\x\"", "\"\\ud800\"",
      "\"\\udc00\\ud800\"",
      // Invalid UTF-8: a lone continuation, overlong forms, a surrogate, beyond U+10FFFF, cut off.
      "\"\x80\"", "\"\xc0\xaf\"", "\"\xe0\x80\xaf\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
      "\"\xf5\x80\x80\x80\"", "\"\xe2\x82\"", "\xff", "\xef\xbb\xbf{}"};
  for (const std::string& text : cases) {
    EXPECT_NE(Refusal([&] { ParseStrictJson(text, "doc"); }), "") << text;
  }
  // Bytes that nlohmann's lexer alone would take for the end of the text.
  EXPECT_NE(Refusal([&] { ParseStrictJson(std::string("{}\0{", 4), "doc"); }), "");
  EXPECT_NE(Refusal([&] { ParseStrictJson(std::string("{}\0", 3), "doc"); }), "");
}

TEST(StrictJson, SaysWhereTheSyntaxBreaks) {
  const std::string refusal = Refusal([] { ParseStrictJson("{\"a\": tru}", "doc"); });
  EXPECT_EQ(refusal.find("doc: got at byte 10: "), 0u) << refusal;
}

TEST(StrictJson, LimitsNesting) {
  const auto nested = [](int levels, const char* open, const char* close) {
    std::string text;
    for (int n = 0; n < levels; ++n) text += open;
    text += "1";
    for (int n = 0; n < levels; ++n) text += close;
    return text;
  };
  EXPECT_NO_THROW(ParseStrictJson(nested(kMaxJsonDepth, "[", "]"), "doc"));
  EXPECT_NO_THROW(ParseStrictJson(nested(kMaxJsonDepth, "{\"a\":", "}"), "doc"));
  EXPECT_EQ(Refusal([&] { ParseStrictJson(nested(kMaxJsonDepth + 1, "[", "]"), "doc"); }),
            "doc: got nesting deeper than 16 levels, want no deeper nesting");
  EXPECT_NE(Refusal([&] { ParseStrictJson(nested(kMaxJsonDepth + 1, "{\"a\":", "}"), "doc"); }),
            "");
  EXPECT_NE(Refusal([&] { ParseStrictJson(std::string(5'000'000, '['), "doc"); }), "");
}

TEST(StrictJson, DescribesValues) {
  EXPECT_EQ(Describe(json::parse("null")), "null");
  EXPECT_EQ(Describe(json::parse("2.5")), "2.5");
  EXPECT_EQ(Describe(json::parse("false")), "false");
  EXPECT_EQ(Describe(json::parse("{}")), "an object");
  EXPECT_EQ(Describe(json::parse("[1]")), "an array");
  EXPECT_EQ(Describe(json::parse("\"a\\nb\"")), "\"a\\x0ab\"");
  EXPECT_EQ(Describe(json(std::string(1000, 'x'))).size(), 62u);
}

}  // namespace
}  // namespace bitanchor::test
