// Free text in documents: any bytes in, one legible line out.
#include "lib/file/markup.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>

namespace bitanchor::test {
namespace {

TEST(Legible, LeavesTextAlone) {
  for (const std::string text : {"", "plain", "Grüße, 核心 \U0001F600", "\\x1b", "a\u00a0b"}) {
    EXPECT_EQ(Legible(text), text);
  }
}

TEST(Legible, WritesOutWhatCannotBeSeen) {
  EXPECT_EQ(Legible("a\nb\tc\r\x1b[31m\x7f"), "a\\x0ab\\x09c\\x0d\\x1b[31m\\x7f");
  EXPECT_EQ(Legible(std::string("\0", 1)), "\\x00");
  EXPECT_EQ(Legible("\u0085\u202e\u2066\u2028\ufeff\u200b"),
            "\\u0085\\u202e\\u2066\\u2028\\ufeff\\u200b");
  EXPECT_EQ(Legible("\uffff\ufffe\U0001ffff\ufdd0"), "\\uffff\\ufffe\\u1ffff\\ufdd0");
}

TEST(Legible, WritesOutWhatIsNotUtf8) {
  EXPECT_EQ(Legible("\xff"), "\\xff");
  EXPECT_EQ(Legible("\xc0\x80"), "\\xc0\\x80");                    // NUL, the long way
  EXPECT_EQ(Legible("\xe0\x80\xaf"), "\\xe0\\x80\\xaf");           // '/', the long way
  EXPECT_EQ(Legible("\xed\xa0\x80"), "\\xed\\xa0\\x80");           // a surrogate
  EXPECT_EQ(Legible("\xf4\x90\x80\x80"), "\\xf4\\x90\\x80\\x80");  // beyond 10ffff
  EXPECT_EQ(Legible("\xe6\xa0"), "\\xe6\\xa0");                    // cut short
  EXPECT_EQ(Legible("\xe6<b>"), "\\xe6<b>");                       // swallows nothing
}

// nlohmann's strict serialiser, which nobody here wrote, takes whatever comes out.
TEST(Legible, RandomBytesBecomeUtf8) {
  std::mt19937 random(7);
  int escaped = 0;
  for (int n = 0; n < 20'000; ++n) {
    std::string text(random() % 9, '\0');
    for (char& c : text) c = static_cast<char>(random() % 3 ? random() | 0x80 : random());
    const std::string legible = Legible(text);
    EXPECT_NO_THROW(nlohmann::json(legible).dump());
    for (const unsigned char c : legible) EXPECT_TRUE(c >= 0x20 && c != 0x7f);
    escaped += legible != text;
    const std::string markup = MarkupEscaped(text);
    EXPECT_EQ(markup.find_first_of("<>\"'"), std::string::npos);
  }
  EXPECT_GT(escaped, 1000);
}

TEST(MarkupEscaped, EscapesTheFive) {
  EXPECT_EQ(MarkupEscaped("<a href=\"x\">&amp;'</a>]]>"),
            "&lt;a href=&quot;x&quot;&gt;&amp;amp;&#39;&lt;/a&gt;]]&gt;");
}

}  // namespace
}  // namespace bitanchor::test
