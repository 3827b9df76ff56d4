#include "lib/problem/mask.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/problem/brute_force.h"

namespace bitanchor {
namespace {

// One line per query, 'x' where it sees the key: what a reader would draw.
std::vector<std::string> Picture(const Mask& mask, int64_t b = 0) {
  std::vector<std::string> rows;
  for (int64_t i = 0; i < mask.Sq; ++i) {
    rows.emplace_back();
    for (int64_t j = 0; j < mask.Skv; ++j) rows.back() += mask.Visible(b, i, j) ? 'x' : '.';
  }
  return rows;
}

Mask Square(MaskSpec spec, std::vector<int64_t> ids) {
  const int64_t S = static_cast<int64_t>(ids.size());
  return {spec, 1, S, S, ids, ids};
}

using Rows = std::vector<std::string>;

TEST(Mask, DrawnByHandRules) {
  const std::vector<int64_t> ids = {0, 1, 1, 2, 2};
  EXPECT_EQ(Picture(Square({MaskRule::kFull}, ids)),
            (Rows{"x....", "xx...", "xxx..", "xxxx.", "xxxxx"}));
  EXPECT_EQ(Picture(Square({MaskRule::kDocument}, ids)),
            (Rows{"x....", ".x...", ".xx..", "...x.", "...xx"}));
  EXPECT_EQ(Picture(Square({MaskRule::kAnchor}, ids)),
            (Rows{"x....", "xx...", "xxx..", "x..x.", "x..xx"}));
  EXPECT_EQ(Picture(Square({MaskRule::kDocument, false}, ids)),
            (Rows{"x....", ".xx..", ".xx..", "...xx", "...xx"}));
}

TEST(Mask, DrawnByHandWindow) {
  // The window counts the query, applies to the anchor too, and does not limit what comes after.
  const std::vector<int64_t> ids = {0, 1, 1, 1, 1};
  EXPECT_EQ(Picture(Square({MaskRule::kAnchor, true, 2}, ids)),
            (Rows{"x....", "xx...", ".xx..", "..xx.", "...xx"}));
  EXPECT_EQ(Picture(Square({MaskRule::kFull, true, 1}, ids)),
            (Rows{"x....", ".x...", "..x..", "...x.", "....x"}));
  EXPECT_EQ(Picture(Square({MaskRule::kFull, false, 2}, ids)),
            (Rows{"xxxxx", "xxxxx", ".xxxx", "..xxx", "...xx"}));
}

TEST(Mask, DrawnByHandCorners) {
  const Mask few_queries{{MaskRule::kFull}, 1, 2, 4, {}, {}};
  EXPECT_EQ(Picture(few_queries), (Rows{"x...", "xx.."}));
  Mask mask = few_queries;
  mask.spec.corner = Corner::kBottomRight;
  EXPECT_EQ(Picture(mask), (Rows{"xxx.", "xxxx"}));
  mask.Sq = 5;
  mask.Skv = 3;  // the first two queries stand before the first key and see nothing
  EXPECT_EQ(Picture(mask), (Rows{"...", "...", "x..", "xx.", "xxx"}));
  mask.spec.corner = Corner::kTopLeft;
  EXPECT_EQ(Picture(mask), (Rows{"x..", "xx.", "xxx", "xxx", "xxx"}));
  mask.spec.window_keys = 2;  // the last query stands two keys past the end
  EXPECT_EQ(Picture(mask), (Rows{"x..", "xx.", ".xx", "..x", "..."}));
}

TEST(Mask, VisibleIsTheBruteForceSets) {
  int64_t visible = 0;
  int64_t hidden = 0;
  for (uint64_t seed = 0; seed < 600; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, 24);
    for (int64_t b = 0; b < mask.B; ++b) {
      for (int64_t i = 0; i < mask.Sq; ++i) {
        const std::set<int64_t> seen = test::KeysSeen(mask, b, i);
        for (int64_t j = 0; j < mask.Skv; ++j) {
          ASSERT_EQ(mask.Visible(b, i, j), seen.contains(j))
              << "seed " << seed << ": " << test::Describe(mask) << " at " << b << ", " << i << ", "
              << j;
          ++(seen.contains(j) ? visible : hidden);
        }
      }
    }
  }
  EXPECT_GT(visible, 10000);
  EXPECT_GT(hidden, 10000);
}

TEST(Mask, NamesGoBothWays) {
  EXPECT_EQ(Name(MaskRule::kFull), "full");
  EXPECT_EQ(Name(MaskRule::kDocument), "document");
  EXPECT_EQ(Name(MaskRule::kAnchor), "anchor");
  EXPECT_EQ(Name(Corner::kTopLeft), "top-left");
  EXPECT_EQ(Name(Corner::kBottomRight), "bottom-right");
  for (const auto rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
    EXPECT_EQ(MaskRuleFromName(Name(rule)), rule);
  }
  for (const auto corner : {Corner::kTopLeft, Corner::kBottomRight}) {
    EXPECT_EQ(CornerFromName(Name(corner)), corner);
  }
  for (const auto* wrong : {"", "Full", "anchor ", "top_left", "causal"}) {
    EXPECT_EQ(MaskRuleFromName(wrong), std::nullopt) << wrong;
    EXPECT_EQ(CornerFromName(wrong), std::nullopt) << wrong;
  }
}

}  // namespace
}  // namespace bitanchor
