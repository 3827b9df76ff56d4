// The HTML page: nothing from outside, no text that becomes markup, every element closed, and the
// pictures count what the census counts.
#include "lib/file/html_report.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <regex>
#include <string>
#include <vector>

#include "lib/file/html_charts.h"
#include "tests/file/judged.h"

namespace bitanchor::test {
namespace {

bool Has(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// Elements open and close like brackets, and attributes are quoted. A page that keeps this and
// holds no '<' of a user's text has the structure that its author meant.
void ExpectWellFormed(const std::string& page) {
  const std::vector<std::string> kVoid = {"meta", "rect", "path", "circle"};
  std::vector<std::string> open;
  const std::regex tag("<(/?)([a-zA-Z0-9!]+)((?: [a-zA-Z:-]+(?:=\"[^\"<>]*\")?)*)(/?)>");
  const std::string body = std::regex_replace(page, std::regex("<style>[^<]*</style>"), "");
  size_t tags = 0;
  for (std::sregex_iterator it(body.begin(), body.end(), tag), end; it != end; ++it, ++tags) {
    const std::string name = (*it)[2];
    if (name == "!DOCTYPE") continue;
    const bool is_void = std::find(kVoid.begin(), kVoid.end(), name) != kVoid.end();
    EXPECT_EQ((*it)[4].length() > 0, is_void && name != "meta") << it->str();
    if (is_void) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else {
      ASSERT_FALSE(open.empty()) << it->str();
      ASSERT_EQ(open.back(), name) << it->str();
      open.pop_back();
    }
  }
  EXPECT_TRUE(open.empty());
  EXPECT_EQ(tags, static_cast<size_t>(std::count(body.begin(), body.end(), '<')));
  EXPECT_EQ(tags, static_cast<size_t>(std::count(body.begin(), body.end(), '>')));
}

void ExpectSelfContained(const std::string& page) {
  for (const char* part : {"http:", "https:", "//", "url(", "@import", "<script", "<link", "<img",
                           "<iframe", "src=", " onload"}) {
    EXPECT_FALSE(Has(page, part)) << part;
  }
  EXPECT_TRUE(Has(page, "content=\"default-src 'none'; style-src 'unsafe-inline'\""));
  EXPECT_LT(page.size(), 400'000u);
}

TEST(HtmlReport, APass) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f, 1.25f})};
  const std::string page = HtmlReport(judged.Get());
  ExpectWellFormed(page);
  ExpectSelfContained(page);
  EXPECT_TRUE(Has(page, "<h1>✓ Pass</h1>"));
  EXPECT_TRUE(Has(page, "<body class=\"pass\">"));
  EXPECT_TRUE(Has(page, "Every one of 16 elements of o is admitted by contract flash-bf16."));
  EXPECT_TRUE(Has(page, "<pre>bitanchor check &#39;some/capture.safetensors&#39;</pre>"));
  EXPECT_FALSE(Has(page, "class=\"wrong\""));
}

TEST(HtmlReport, EverythingAtOnceAndHostile) {
  Judged judged;
  judged.FillWithHostility();
  for (const char* mode : {"contract", "replay", "rule", "something new"}) {
    judged.verdict.mode = mode;
    const std::string page = HtmlReport(judged.Get());
    ExpectWellFormed(page);
    ExpectSelfContained(page);
    for (const unsigned char c : page) EXPECT_TRUE(c >= 0x20 || c == '\n');
    EXPECT_FALSE(Has(page, "\u202e"));
    EXPECT_TRUE(Has(page, "would have caught 1 of 2 faults"));
    EXPECT_TRUE(Has(page, "<h1>✗ Fail</h1>"));
    EXPECT_TRUE(Has(page, "<td>nan</td>"));
    EXPECT_TRUE(Has(page, "<td>inf</td>"));
  }
}

TEST(HtmlReport, NothingJudgedAndNothingDecided) {
  Judged judged;
  std::string page = HtmlReport(judged.Get());
  ExpectWellFormed(page);
  EXPECT_TRUE(Has(page, "<h1>? Inconclusive</h1>"));
  EXPECT_TRUE(Has(page, "<li>no output was judged</li>"));
  OutputVerdict empty{"o", Census(DType::kBF16)};
  OutputVerdict undetermined{"lse", Census(DType::kF32)};
  const float got = 1;
  undetermined.census.AddRow({0, 0, 0, -1}, &got, &kUndeterminedInterval, 1);
  judged.verdict.outputs = {empty, undetermined};
  page = HtmlReport(judged.Get());
  ExpectWellFormed(page);
  EXPECT_TRUE(Has(page, "lse: none of its 1 elements has a determined answer"));
  EXPECT_TRUE(Has(page, "o: none of its 0 elements has a determined answer"));
}

TEST(HtmlReport, EveryLayoutAndManyHeads) {
  for (const Layout layout : {Layout::kBSHD, Layout::kBHSD, Layout::kTHD}) {
    Judged judged(SmallProblem(1, 300, 500, 130, 65, 2));
    judged.capture.layout = layout;
    // Every output has its own S and H; each row is wrong in another way than its neighbours.
    for (const char* name : {"q_rope", "k_rope", "lse", "o", "delta", "dv", "dq", "dk"}) {
      const bool keys =
          name == std::string("dk") || name == std::string("dv") || name == std::string("k_rope");
      OutputVerdict output{name, Census(DType::kBF16)};
      for (int64_t s = 0; s < (keys ? 500 : 300); ++s) {
        for (int64_t h = 0; h < (keys ? 65 : 130); ++h) {
          const float got[] = {1.5f, (s / 8 + h / 4) % 2 ? 7.0f : 1.25f};
          const Interval want[] = {{1.5, 1, 2}, {1.5, 1, 2}};
          output.census.AddRow({0, s, h, 0}, got, want, 2);
        }
      }
      judged.verdict.outputs.push_back(output);
    }
    const std::string page = HtmlReport(judged.Get());
    ExpectWellFormed(page);
    ExpectSelfContained(page);
    for (const auto& [output, axes] :
         {std::pair("dk", "key 0</span><span>499<"), std::pair("k_rope", "key 0</span><span>499<"),
          std::pair("dq", "query 0</span><span>299<"),
          std::pair("lse", "query 0</span><span>299<")}) {
      const size_t section = page.find(fmt::format("<section id=\"{}\"", output));
      ASSERT_NE(section, std::string::npos);
      const std::string text = page.substr(section, page.find("</section>", section) - section);
      EXPECT_TRUE(Has(text, axes)) << output;
    }
  }
}

// The widths of a bar's segments, by class.
double WidthOf(const std::string& bar, const std::string& of_class) {
  std::smatch found;
  const std::regex rect("<rect class=\"" + of_class + "\" x=\"[^\"]*\" width=\"([^\"]*)\"");
  return std::regex_search(bar, found, rect) ? std::stod(found[1]) : 0;
}

TEST(CensusBar, WidthsAreShares) {
  const std::string bar = CensusBar(MadeOutput("o", {1.5f, 1.5f, 1.25f, 7}).census);
  EXPECT_NEAR(WidthOf(bar, "s-exact"), 500, 0.1);
  EXPECT_NEAR(WidthOf(bar, "s-within"), 250, 0.1);
  EXPECT_NEAR(WidthOf(bar, "s-wrong"), 250, 0.1);
}

TEST(CensusBar, OneWrongElementOfMillionsIsSeen) {
  Census census(DType::kBF16);
  census.exact = 100'000'000;
  census.outside = 1;
  const std::string bar = CensusBar(census);
  EXPECT_NEAR(WidthOf(bar, "s-wrong"), 6, 0.01);
  EXPECT_NEAR(WidthOf(bar, "s-exact"), 994, 0.01);
  Census none(DType::kBF16);
  EXPECT_EQ(WidthOf(CensusBar(none), "s-exact"), 0);
  none.nonfinite_mismatch = 5;
  EXPECT_NEAR(WidthOf(CensusBar(none), "s-wrong"), 1000, 0.01);
}

TEST(UlpHistogram, StopsAfterTheLastBinThatHasSome) {
  Census census(DType::kBF16);
  EXPECT_TRUE(Has(UlpHistogram(census), "No element is finite"));
  census.by_ulp[0] = 1234567;
  census.by_ulp[3] = 1;
  const std::string table = UlpHistogram(census);
  EXPECT_TRUE(Has(table, "<td>1,234,567</td><td>100%</td>"));
  EXPECT_TRUE(Has(table, ">2–4</th>"));
  EXPECT_FALSE(Has(table, ">4–8</th>"));
  census.by_ulp[kUlpBins - 1] = 1;
  EXPECT_TRUE(Has(UlpHistogram(census), ">65,536 and more</th>"));
}

TEST(HeatMap, PutsEachRowIntoItsCell) {
  Census census(DType::kBF16);
  const Interval want[] = {{1.5, 1, 2}, {1.5, 1, 2}};
  const float right[] = {1.5f, 1.5f}, near[] = {1.5f, 1.95f}, wrong[] = {1.5f, 7};
  census.AddRow({0, 0, 0, 0}, right, want, 2);
  census.AddRow({0, 5, 1, 0}, near, want, 2);
  census.AddRow({1, 9, 2, 0}, wrong, want, 2);
  const std::string map = HeatMap(census, {"query", "query head", 10, 3}, false);
  EXPECT_TRUE(Has(map, "viewBox=\"0 0 10 3\""));
  EXPECT_TRUE(Has(map, "class=\"h0\" d=\"M0 0h1v1h-1z\""));
  EXPECT_TRUE(Has(map, "class=\"h3\" d=\"M5 1h1v1h-1z\"")) << map;
  EXPECT_TRUE(Has(map, "class=\"w2\" d=\"M9 2h1v1h-1z\""));
  EXPECT_TRUE(Has(map, "Worst block: query head 2, query 9: 1 of 2 elements wrong."));
  const std::string coarse = HeatMap(census, {"key", "key head", 1000, 100}, false);
  EXPECT_TRUE(Has(coarse, "viewBox=\"0 0 63 50\""));
  EXPECT_TRUE(Has(coarse, "A cell is 2 heads by 16 key rows. Worst block: key head 2–3, key 0–15:"))
      << coarse;
}

TEST(GroupColumns, AreAsHighAsWhatIsWrong) {
  const std::string charts =
      GroupColumns({"distance", {{0, 10, 0, 0.5}, {1, 8, 4, 2}, {7, 1000, 1, 2}}});
  EXPECT_TRUE(Has(charts, "d=\"M1 100h.9v-50h-.9zM2 100h.9v-3h-.9z\"")) << charts;
  EXPECT_TRUE(Has(charts, "start 0</span><span>64–127</span>")) << charts;
  EXPECT_TRUE(Has(charts, "At most 50%: tokens from the document’s start 1.")) << charts;
  EXPECT_EQ(GroupColumns({"document", {{0, 10, 0, 0.5}, {1, 8, 0, 0.5}}}), "");
}

TEST(IntervalStrip, PutsTheAnswerWhereItIs) {
  EXPECT_TRUE(Has(IntervalStrip(0), "class=\"got-in\" cx=\"50\""));
  EXPECT_TRUE(Has(IntervalStrip(-1), "class=\"got-in\" cx=\"26\""));
  EXPECT_TRUE(Has(IntervalStrip(1.5), "class=\"got-out\" cx=\"86\""));
  EXPECT_TRUE(Has(IntervalStrip(1e30), "M99 6l-6"));
  EXPECT_TRUE(Has(IntervalStrip(-3), "M1 6l6"));
  EXPECT_EQ(IntervalStrip(kInf), "");
  EXPECT_EQ(IntervalStrip(kNaN), "");
}

}  // namespace
}  // namespace bitanchor::test
