// Charts read back: where points, ticks and labels lie, and that nothing breaks out of the markup.
#include "lib/file/line_chart.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "lib/file/label_places.h"

namespace bitanchor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::nan("");

// Whether every element that is opened is closed, in turn, attributes are quoted, and text has no
// bare < or &. "" or what is wrong.
std::string Malformed(const std::string& svg) {
  const std::regex token(
      R"(<(/?)([a-z]+)((?: [A-Za-z:-]+="[^"<&]*(?:&[a-z0-9#]+;[^"<&]*)*")*)(/?)>|[^<>&]+|&(?:amp|lt|gt|quot|#39|#215);)");
  std::vector<std::string> open;
  size_t at = 0;
  for (std::sregex_iterator it(svg.begin(), svg.end(), token), none; it != none; ++it) {
    if (static_cast<size_t>(it->position()) != at) return "no markup at " + svg.substr(at, 40);
    at += static_cast<size_t>(it->length());
    const std::string name = (*it)[2];
    if (name.empty() || (*it)[4].length() > 0) continue;
    if ((*it)[1].length() == 0) {
      open.push_back(name);
    } else if (open.empty() || open.back() != name) {
      return "</" + name + "> without its start";
    } else {
      open.pop_back();
    }
  }
  return at == svg.size() && open.empty() ? "" : "it ends too early";
}

std::vector<std::string> Matches(const std::string& text, const std::string& pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> found;
  for (std::sregex_iterator it(text.begin(), text.end(), regex), none; it != none; ++it) {
    found.push_back((*it)[1]);
  }
  return found;
}

std::vector<std::string> Labels(const ChartRange& range) {
  std::vector<std::string> labels;
  for (const ChartTick& tick : range.ticks()) {
    labels.push_back(tick.label + (tick.exponent.empty() ? "" : "^" + tick.exponent));
  }
  return labels;
}

using Strings = std::vector<std::string>;

ChartPage PageOf(const std::vector<ChartSeries>& series) {
  return {"page", {"line"}, {{"chart", {"x"}, {"y"}, series}}};
}

ChartSeries SeriesOf(std::vector<double> x, std::vector<double> y, int style = 0) {
  ChartSeries series;
  series.name = "series";
  series.style = style;
  series.x = std::move(x);
  series.y = std::move(y);
  return series;
}

// The path of a series: its <g> begins with its name.
std::string LineOf(const std::string& svg, const std::string& name) {
  const size_t begin = svg.find("<g><title>" + name + "</title>");
  const size_t end = svg.find("</g>", begin);
  const Strings d =
      Matches(svg.substr(begin, end - begin), "<path d=\"([^\"]*)\" stroke=[^/]*none\"/");
  return d.empty() ? "" : d.front();
}

TEST(ChartRange, TicksAreRoundNumbersOrPowersOfTen) {
  EXPECT_EQ(Labels(ChartRange({}, {2, 9}, 5)), (Strings{"2", "4", "6", "8"}));
  EXPECT_EQ(Labels(ChartRange({}, {0.5, 60000}, 8)), (Strings{"1", "10", "100", "1000", "10000"}));
  EXPECT_EQ(Labels(ChartRange({}, {3e-5, 4e-3}, 8)), (Strings{"10^\u22124", "10^\u22123"}));
  EXPECT_EQ(
      Labels(ChartRange({}, {1e-16, 1}, 6)),
      (Strings{"10^\u221215", "10^\u221212", "10^\u22129", "10^\u22126", "10^\u22123", "10^0"}));
  // 0.0012 and 0.036 have one power of ten between them: the range grows to whole decades.
  EXPECT_EQ(Labels(ChartRange({}, {0.0012, 0.036}, 8)),
            (Strings{"10^\u22123", "10^\u22122", "10^\u22121"}));
  ChartAxis whole;
  whole.whole = true;
  EXPECT_EQ(Labels(ChartRange(whole, {16, 17}, 8)), (Strings{"16", "17"}));
  EXPECT_EQ(Labels(ChartRange({}, {1000000, 1000016}, 4)),
            (Strings{"1000000", "1000005", "1000010", "1000015"}));
}

TEST(ChartRange, ZeroHasItsOwnPlaceOnALogarithmicAxis) {
  const ChartRange range({}, {0, 1e-16, 1e-3}, 8);
  ASSERT_TRUE(range.log());
  EXPECT_EQ(range.ticks().front().label, "0");
  EXPECT_LT(range.At(0), range.Break());
  EXPECT_LT(range.Break(), range.At(1e-16));
  EXPECT_NEAR(range.At(1e-8) - range.At(1e-9), range.At(1e-4) - range.At(1e-5), 1e-9);
  EXPECT_EQ(ChartRange({}, {1e-16, 1e-3}, 8).Break(), 0);
  // Of values within a decade 0 is on the same axis as they are.
  EXPECT_FALSE(ChartRange({}, {0, 8, 16}, 8).log());
  EXPECT_FALSE(ChartRange({}, {0, 0}, 8).log());
  ChartAxis reversed;
  reversed.reversed = true;
  const ChartRange back(reversed, {0, 1e-16, 1e-3}, 8);
  EXPECT_GT(back.At(0), back.Break());
  EXPECT_GT(back.Break(), back.At(1e-16));
}

// Whatever the values, places ascend with them and lie on the axis, and ticks are few.
TEST(ChartRange, AnyValues) {
  std::mt19937_64 random(5);
  const double hard[] = {
      0,    -0.0, 5e-324, 1e-323, 1e-310, 2.2e-308, 1.7e308,   1e308,
      kInf, kNaN, -kInf,  -1,     1,      1e-16,    1 + 1e-15, 9.999999999999999e22};
  for (int n = 0; n < 4000; ++n) {
    std::vector<double> values(random() % 6);
    for (double& x : values) {
      x = random() % 2 ? hard[random() % std::size(hard)]
                       : std::pow(10.0, static_cast<double>(random() % 40) - 20);
    }
    ChartAxis axis;
    axis.scale = static_cast<ChartScale>(random() % 3);
    axis.from_zero = random() % 2;
    axis.whole = random() % 2;
    const ChartRange range(axis, values, 8);
    std::erase_if(values, [](double x) { return !CanBeShown(x); });
    std::sort(values.begin(), values.end());
    double before = 0;
    for (const double x : values) {
      ASSERT_GE(range.At(x), before) << x;
      ASSERT_LE(range.At(x), 1) << x;
      before = range.At(x);
    }
    ASSERT_LE(range.ticks().size(), 12u);
    for (const ChartTick& tick : range.ticks()) ASSERT_TRUE(std::isfinite(range.At(tick.place)));
    const std::string svg = ChartsSvg(PageOf({SeriesOf(values, values)}));
    ASSERT_EQ(svg.find("nan"), std::string::npos);
    ASSERT_EQ(svg.find("inf"), std::string::npos);
  }
}

TEST(SpreadLabels, KeepsGapOrderAndBounds) {
  EXPECT_EQ(SpreadLabels({5, 50, 90}, 10, 0, 100), (std::vector<double>{5, 50, 90}));
  EXPECT_EQ(SpreadLabels({50, 50}, 10, 0, 100), (std::vector<double>{45, 55}));
  EXPECT_EQ(SpreadLabels({52, 50}, 10, 0, 100), (std::vector<double>{56, 46}));
  EXPECT_EQ(SpreadLabels({0, 1, 2}, 10, 0, 100), (std::vector<double>{0, 10, 20}));
  std::mt19937 random(3);
  for (int n = 0; n < 2000; ++n) {
    std::vector<double> places(1 + random() % 10);
    for (double& place : places) place = random() % 101;
    std::vector<double> spread = SpreadLabels(places, 10, 0, 100);
    for (size_t a = 0; a < places.size(); ++a) {
      for (size_t b = 0; b < places.size(); ++b) {
        if (places[a] < places[b]) {
          ASSERT_LT(spread[a], spread[b]);
        }
      }
    }
    std::sort(spread.begin(), spread.end());
    ASSERT_GE(spread.front(), -1e-9);
    ASSERT_LE(spread.back(), 100 + 1e-9);
    for (size_t m = 1; m < spread.size(); ++m) ASSERT_GE(spread[m] - spread[m - 1], 10 - 1e-9);
  }
}

TEST(ChartsSvg, PointsLieWhereTheTicksSay) {
  const std::string svg = ChartsSvg(PageOf({SeriesOf({0, 50, 100}, {1, 0.1, 0.001})}));
  EXPECT_EQ(Malformed(svg), "");
  std::smatch m;
  const std::string line = LineOf(svg, "series");
  ASSERT_TRUE(std::regex_match(
      line, m, std::regex("M([0-9.]+) ([0-9.]+)L([0-9.]+) ([0-9.]+)L([0-9.]+) ([0-9.]+)")));
  const auto number = [&](size_t n) { return std::stod(m[n]); };
  EXPECT_NEAR(number(3) - number(1), number(5) - number(3), 0.011);        // two decimals
  EXPECT_NEAR(2 * (number(4) - number(2)), number(6) - number(4), 0.021);  // decades downwards
  // The tick of 0.1 is as high as the point of 0.1.
  const std::string y = (std::ostringstream() << number(4)).str();
  EXPECT_NE(svg.find(" " + y + "H"), std::string::npos) << y;
}

// What is not a number or below zero is a gap, and the label says so.
TEST(ChartsSvg, WhatCannotBeShownIsCounted) {
  const std::string svg = ChartsSvg(
      PageOf({SeriesOf({1, 2, 3, 4, 5, 6, 7}, {1, 2, kNaN, 3, kInf, -1, 4}), SeriesOf({}, {}, 1)}));
  EXPECT_EQ(Malformed(svg), "");
  const std::string line = LineOf(svg, "series");
  EXPECT_EQ(std::count(line.begin(), line.end(), 'M'), 3);
  EXPECT_EQ(std::count(line.begin(), line.end(), 'L'), 1);
  EXPECT_NE(svg.find("(3 not shown) series"), std::string::npos);
  EXPECT_EQ(svg.find("nothing to show"), std::string::npos);
  const std::string none = ChartsSvg(PageOf({SeriesOf({1, kNaN}, {kNaN, 1})}));
  EXPECT_EQ(Malformed(none), "");
  EXPECT_NE(none.find("nothing to show"), std::string::npos);
  EXPECT_NE(none.find("(2 not shown) series"), std::string::npos);
}

// To 0 on a logarithmic axis is infinitely far: no line goes there.
TEST(ChartsSvg, NoLineGoesToZero) {
  const std::string svg = ChartsSvg(PageOf({SeriesOf({1, 2, 3, 4, 5}, {1e-3, 1e-6, 0, 0, 1e-3})}));
  const std::string line = LineOf(svg, "series");
  EXPECT_EQ(std::count(line.begin(), line.end(), 'M'), 3);
  EXPECT_EQ(std::count(line.begin(), line.end(), 'L'), 2);
}

TEST(ChartsSvg, HostileTextCannotBreakOut) {
  const std::string hostile = "</title><script>alert(1)</script>&\" onload='x'\x01\xff\n\u202e]]>";
  ChartSeries series = SeriesOf({1, 2}, {1, 2});
  series.name = hostile + std::string(3000, 'n');
  series.label = hostile + std::string(3000, 'n');
  LineChart chart{hostile, {hostile}, {hostile}, {series}};
  chart.x.ticks = {{1, hostile, ""}, {2, std::string(500, '\xc3'), "</tspan>"}};
  for (const bool legend : {false, true}) {
    chart.legend = legend;
    const std::string svg = ChartsSvg({hostile, {hostile, std::string(5000, 'x'), ""}, {chart}});
    EXPECT_EQ(Malformed(svg), "");
    EXPECT_EQ(svg.find("<script"), std::string::npos);
    EXPECT_EQ(svg.find("id="), std::string::npos);  // two of them may stand in one page
    for (const unsigned char c : svg) ASSERT_TRUE(c == '\n' || c >= 0x20);
  }
}

// Colour and marker, or either, tell 56 series apart; dashes and hollow markers tell dtypes.
TEST(ChartsSvg, SeriesAreToldApart) {
  std::vector<std::string> looks;
  for (int style = 0; style < 56; ++style) {
    for (const ChartDash dash : {ChartDash::kSolid, ChartDash::kDashed, ChartDash::kDashDot}) {
      ChartSeries series = SeriesOf({1, 2}, {1, 2}, style);
      series.dash = dash;
      series.line = style % 2;  // dots alone, too
      const std::string svg = ChartsSvg(PageOf({series}));
      const size_t begin = svg.find("<g><title>series");
      looks.push_back(svg.substr(begin, svg.find("</g>", begin) - begin));
    }
  }
  std::sort(looks.begin(), looks.end());
  EXPECT_EQ(std::adjacent_find(looks.begin(), looks.end()), looks.end());
}

TEST(ChartsSvg, IsAFileOfItsOwn) {
  const ChartPage page = PageOf({SeriesOf({0, 1e5}, {0, 1e-9})});
  const std::string svg = ChartsSvg(page);
  EXPECT_EQ(svg, ChartsSvg(page));
  EXPECT_EQ(svg.rfind("<svg xmlns=\"http://www.w3.org/2000/svg\"", 0), 0u);
  EXPECT_NE(svg.find("fill=\"#ffffff\"/>"), std::string::npos);  // the ground, on dark pages
  EXPECT_EQ(Matches(svg, "(https?:)").size(), 1u);               // the namespace
  EXPECT_TRUE(Matches(svg, "(href|url\\(|@import|<style|<image)").empty());
  EXPECT_EQ(Malformed(ChartsSvg({})), "");
}

}  // namespace
}  // namespace bitanchor
