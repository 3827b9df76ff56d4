// The picture is read back: its rectangles must be the block map and its paths the pairs.
#include "lib/file/mask_figure.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <regex>
#include <string>
#include <vector>

#include "lib/file/printable.h"
#include "lib/problem/block_map.h"
#include "lib/problem/layout.h"
#include "tests/problem/brute_force.h"

namespace bitanchor {
namespace {

struct Rectangle {
  double x, y, width;  // and one high
  std::string fill;
};

// The nested picture of blocks: its size in squares, the ground's colour, the squares.
struct Blocks {
  double width = 0, height = 0;
  std::string ground;
  std::vector<Rectangle> rectangles;

  explicit Blocks(const std::string& svg) {
    const size_t begin = svg.find("<svg x="), end = svg.find("</svg>", begin);
    const std::string inner = svg.substr(begin, end - begin);
    std::smatch m;
    EXPECT_TRUE(std::regex_search(inner, m, std::regex("viewBox=\"0 0 ([0-9.]+) ([0-9.]+)\"")));
    width = std::stod(m[1]);
    height = std::stod(m[2]);
    EXPECT_TRUE(std::regex_search(inner, m, std::regex("<rect [^>]*fill=\"(#[0-9a-f]+)\"")));
    ground = m[1];
    const std::regex path("<path fill=\"(#[0-9a-f]+)\" d=\"([^\"]*)\"/>");
    const std::regex run("M([0-9]+) ([0-9]+)h([0-9]+)v1h-[0-9]+z");
    for (std::sregex_iterator at(inner.begin(), inner.end(), path), none; at != none; ++at) {
      const std::string d = (*at)[2];
      for (std::sregex_iterator it(d.begin(), d.end(), run); it != none; ++it) {
        rectangles.push_back(
            {std::stod((*it)[1]), std::stod((*it)[2]), std::stod((*it)[3]), (*at)[1]});
      }
    }
  }

  std::string Colour(double x, double y) const {
    EXPECT_LT(x, width);
    EXPECT_LT(y, height);
    for (const Rectangle& r : rectangles) {
      if (r.x <= x && x < r.x + r.width && r.y <= y && y < r.y + 1) return r.fill;
    }
    return ground;
  }
};

int64_t Occurrences(const std::string& text, const std::string& what) {
  int64_t count = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++count;
  return count;
}

// The colour at the middle of every block is the one of its kind.
void CheckBlocks(const Mask& mask, int64_t block_q, int64_t block_k) {
  const Blocks blocks(MaskFigure(mask, {0, block_q, block_k, ""}));
  const BlockMap map = MapBlocks(mask, 0, block_q, block_k);
  // Where a token lies among the squares.
  const auto across = [&](int64_t j) {
    return blocks.width * static_cast<double>(j) / static_cast<double>(mask.Skv);
  };
  const auto down = [&](int64_t i) {
    return blocks.height * static_cast<double>(i) / static_cast<double>(mask.Sq);
  };
  std::map<std::string, BlockKind> meaning;
  for (int64_t q = 0; q < map.query_blocks; ++q) {
    for (int64_t k = 0; k < map.key_blocks; ++k) {
      const double x = (across(k * block_k) + across(std::min((k + 1) * block_k, mask.Skv))) / 2;
      const double y = (down(q * block_q) + down(std::min((q + 1) * block_q, mask.Sq))) / 2;
      const std::string fill = blocks.Colour(x, y);
      const BlockKind kind = map.At(q, k);
      meaning.emplace(fill, kind);
      ASSERT_EQ(meaning.at(fill), kind) << test::Describe(mask) << " block " << q << ", " << k;
      ASSERT_EQ(fill == blocks.ground, kind == BlockKind::kEmpty);
    }
  }
}

TEST(MaskFigure, ColoursAreTheBlockMap) {
  for (uint64_t seed = 0; seed < 60; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, seed % 2 ? 60 : 300);
    CheckBlocks(mask, test::Pick(random, 3, 40), test::Pick(random, 3, 40));
    ASSERT_FALSE(HasFailure()) << "seed " << seed;
  }
}

TEST(MaskFigure, SmallMasksShowEveryPair) {
  for (uint64_t seed = 100; seed < 130; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, 30);
    std::string svg = MaskFigure(mask, {mask.B - 1, 8, 8, ""});
    svg = svg.substr(svg.find("</svg>"));  // pairs are the only closed paths
    EXPECT_EQ(Occurrences(svg, "z"), CountVisible(mask, mask.B - 1)) << test::Describe(mask);
  }
}

Mask SelfAttention(const DocumentLayout& layout) {
  const int64_t S = static_cast<int64_t>(layout.document_ids.size());
  return {{layout.rule}, 1, S, S, layout.document_ids, layout.document_ids};
}

TEST(MaskFigure, SaysWhatItShows) {
  const std::string svg = MaskFigure(SelfAttention(SharedAnchor({255, 512, 256})), {});
  for (const char* const says :
       {"<title>anchor, causal</title>", "197888 pairs kept, 18.9%", ">anchor<", ">doc 1<",
        ">doc 3<", "full 8<", "partial 14<", "empty 42<", "128 queries &#215; 128 keys"}) {
    EXPECT_NE(svg.find(says), std::string::npos) << says;
  }
  EXPECT_EQ(svg.find("id="), std::string::npos);  // two of them may stand in one page
  EXPECT_EQ(svg.rfind("</svg>\n"), svg.size() - 7);
}

TEST(MaskFigure, ATitleCannotBreakOut) {
  const Mask mask{{}, 1, 4, 4, {}, {}};
  const std::string svg = MaskFigure(mask, {0, 2, 2, "</title><script>&\n\x01"});
  EXPECT_EQ(svg.find("<script"), std::string::npos);
  EXPECT_EQ(Occurrences(svg, "</title>"), 1);
}

// A picture of many tokens stays small and says what a square stands for.
TEST(MaskFigure, LongMasksStaySmall) {
  const std::string svg =
      MaskFigure(SelfAttention(SharedAnchor(std::vector<int64_t>(500, 262))), {0, 128, 128, ""});
  EXPECT_LT(svg.size(), 200000u);
  EXPECT_NE(svg.find("a square stands for 4 &#215; 4 of them"), std::string::npos);
}

TEST(MaskFigure, ExtremeSizes) {
  const Mask one{{}, 1, 1, 1, {}, {}};
  for (const Mask& mask : {one, Mask{{}, 1, 1, 100000, {}, {}}, Mask{{}, 1, 100000, 1, {}, {}}}) {
    const std::string svg = MaskFigure(mask, {0, INT64_MAX, INT64_MAX, ""});
    EXPECT_EQ(svg.find("nan"), std::string::npos);
    EXPECT_EQ(svg.find("inf"), std::string::npos);
    EXPECT_EQ(svg.find("\"-"), std::string::npos);
  }
}

TEST(Percent, IsNeverAllOrNothingUnlessItIs) {
  EXPECT_EQ(Percent(0, 7), "0%");
  EXPECT_EQ(Percent(7, 7), "100%");
  EXPECT_EQ(Percent(6, 7), "85.7%");
  EXPECT_EQ(Percent(999999, 1000000), "over 99.9%");
  EXPECT_EQ(Percent(9994, 10000), "99.9%");
  EXPECT_EQ(Percent(1, 1000000), "0.0001%");
}

}  // namespace
}  // namespace bitanchor
