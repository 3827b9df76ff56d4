// The picture of a mask against the mask's own definition, pair by pair.
#include "lib/file/mask_svg.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <regex>
#include <string>
#include <vector>

#include "tests/support/random_problem.h"

namespace bitanchor::test {
namespace {

// The cells of one class, painted: [height, width].
std::vector<int> Painted(const std::string& svg, const std::string& of_class, int64_t height,
                         int64_t width) {
  std::vector<int> cells(height * width);
  std::smatch path;
  const std::regex of("class=\"" + of_class + "\" fill=\"[^\"]*\" d=\"([^\"]*)\"");
  EXPECT_TRUE(std::regex_search(svg, path, of)) << svg;
  const std::string d = path[1];
  const std::regex run("M([0-9]+) ([0-9]+)h([0-9]+)v1h-([0-9]+)z");
  size_t read = 0;
  for (std::sregex_iterator it(d.begin(), d.end(), run), end; it != end; ++it) {
    read += (*it)[0].length();
    EXPECT_EQ((*it)[3], (*it)[4]);
    for (int64_t x = 0; x < std::stoll((*it)[3]); ++x)
      ++cells.at(std::stoll((*it)[2]) * width + std::stoll((*it)[1]) + x);
  }
  EXPECT_EQ(read, d.size()) << "a path of something else: " << d;
  return cells;
}

void ExpectThePicture(const Mask& mask, int64_t b, int64_t block) {
  const int64_t height = (mask.Sq + block - 1) / block, width = (mask.Skv + block - 1) / block;
  const std::string svg = MaskSvg(mask, b, block);
  EXPECT_NE(svg.find(fmt::format("viewBox=\"0 0 {} {}\"", width, height)), std::string::npos);
  const std::vector<int> full = Painted(svg, "mask-full", height, width);
  const std::vector<int> partial = Painted(svg, "mask-partial", height, width);
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      int64_t pairs = 0, visible = 0;
      for (int64_t i = y * block; i < std::min(mask.Sq, (y + 1) * block); ++i) {
        for (int64_t j = x * block; j < std::min(mask.Skv, (x + 1) * block); ++j) {
          ++pairs;
          visible += mask.Visible(b, i, j);
        }
      }
      EXPECT_EQ(full[y * width + x], visible == pairs) << y << " " << x;
      EXPECT_EQ(partial[y * width + x], visible > 0 && visible < pairs) << y << " " << x;
    }
  }
}

TEST(MaskSvg, PaintsWhatTheMaskSays) {
  for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
    for (const bool causal : {false, true}) {
      for (const int64_t block : {1, 4, 8, 64}) {
        const MaskSpec spec = {rule, causal,
                               rule == MaskRule::kFull ? std::optional<int64_t>(7) : std::nullopt};
        const auto owned = testing::MakeProblem({2, 37, 37, 1, 1, 2}, DType::kF32, spec,
                                                testing::Values::kNormal, 1);
        for (const int64_t b : {0, 1}) ExpectThePicture(owned.problem.mask, b, block);
      }
    }
  }
}

TEST(MaskSvg, NoPairAtAllAndLongShapes) {
  Mask none{{MaskRule::kDocument, false}, 1, 3, 200, {7, 7, 7}, std::vector<int64_t>(200, 1)};
  ExpectThePicture(none, 0, 4);
  EXPECT_NE(MaskSvg(none, 0, 4).find("class=\"mask-full\" fill=\"#3d4654\" d=\"\""),
            std::string::npos);
  EXPECT_NE(MaskSvg(none, 0, 4, true).find("xmlns="), std::string::npos);
  EXPECT_EQ(MaskSvg(none, 0, 4).find("xmlns="), std::string::npos);
}

TEST(PictureBlock, IsTheLeastPowerOfTwoThatFits) {
  EXPECT_EQ(PictureBlock(1), 1);
  EXPECT_EQ(PictureBlock(64), 1);
  EXPECT_EQ(PictureBlock(65), 2);
  EXPECT_EQ(PictureBlock(384), 8);
  EXPECT_EQ(PictureBlock(4096), 64);
  EXPECT_EQ(PictureBlock(4097), 128);
  EXPECT_EQ(PictureBlock(100, 1), 128);
}

}  // namespace
}  // namespace bitanchor::test
