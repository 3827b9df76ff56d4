// What a census of sets calls exact, within and outside, and what it counts as pinned.
#include "lib/verdict/census.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

namespace bitanchor {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

struct Counted {
  int64_t exact, within, outside, nonfinite_mismatch, undetermined, pinned;
  bool operator==(const Counted&) const = default;
};

Counted Of(float got, float low, float high, Strictness strictness = Strictness::kSet) {
  Census census(DType::kF32, strictness);
  const Interval interval = {(double{low} + high) / 2, low, high};
  census.AddRow({0, 0, 0, 0}, &got, &interval, 1);
  return {census.exact,        census.within, census.outside, census.nonfinite_mismatch,
          census.undetermined, census.pinned};
}

TEST(Census, SetsAreBitsWithMinusZeroBelowZero) {
  const float next = std::nextafter(1.0f, 2.0f);
  EXPECT_EQ(Of(1, 1, 1), (Counted{1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Of(next, 1, 1), (Counted{0, 0, 1, 0, 0, 1}));
  EXPECT_EQ(Of(1, 1, next), (Counted{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(Of(next, 1, next), (Counted{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(Of(0.0f, 0.0f, 0.0f), (Counted{1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Of(-0.0f, 0.0f, 0.0f), (Counted{0, 0, 1, 0, 0, 1}));
  EXPECT_EQ(Of(0.0f, -0.0f, -0.0f), (Counted{0, 0, 1, 0, 0, 1}));
  EXPECT_EQ(Of(-0.0f, -0.0f, 0.0f), (Counted{0, 1, 0, 0, 0, 0}));
  EXPECT_EQ(Of(-kInf, -kInf, -kInf), (Counted{1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Of(kInf, 1, 2), (Counted{0, 0, 0, 1, 0, 0}));
  EXPECT_EQ(Of(std::nanf(""), 1, 1), (Counted{0, 0, 0, 1, 0, 1}));
  EXPECT_EQ(Of(std::nanf("7"), std::nanf(""), std::nanf("")), (Counted{1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Of(3, 1, -1), (Counted{0, 0, 0, 0, 1, 0}));
}

// Of a recipe every element is one answer alone, NaN as well.
TEST(Census, BitsArePinned) {
  EXPECT_EQ(Of(1, 1, 1, Strictness::kBits), (Counted{1, 0, 0, 0, 0, 1}));
  EXPECT_EQ(Of(std::nanf(""), std::nanf(""), std::nanf(""), Strictness::kBits).pinned, 1);
}

}  // namespace
}  // namespace bitanchor
