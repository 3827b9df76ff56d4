// Operations on sets against the operations on their numbers, gone through.
#include "lib/replay/flushed_arithmetic.h"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <vector>

namespace {

using bitanchor::replay::Admissible;
using bitanchor::replay::AtPlace;
using bitanchor::replay::Place;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
const float kNaN = std::numeric_limits<float>::quiet_NaN();

// Of its own: exact in f64 but for the last rounding, to f32 or to zero.
float Rounded(double x) {
  const float nearest = static_cast<float>(x);
  return std::fabs(nearest) < 0x1p-126f ? std::copysign(0.0f, nearest) : nearest;
}
float In(float x) { return x != 0 && std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }

struct Operation {
  const char* name;
  int operands;
  std::function<float(float, float, float)> of_numbers;
  std::function<Admissible(Admissible, Admissible, Admissible)> of_sets;
};

std::vector<Operation> Operations() {
  namespace replay = bitanchor::replay;
  using Set = Admissible;
  return {
      {"add", 2, [](float x, float y, float) { return Rounded(double{In(x)} + In(y)); },
       [](Set x, Set y, Set) { return replay::Add(x, y); }},
      {"subtract", 2, [](float x, float y, float) { return Rounded(double{In(x)} - In(y)); },
       [](Set x, Set y, Set) { return replay::Subtract(x, y); }},
      {"multiply", 2, [](float x, float y, float) { return Rounded(double{In(x)} * In(y)); },
       [](Set x, Set y, Set) { return replay::Multiply(x, y); }},
      {"divide", 2, [](float x, float y, float) { return Rounded(double{In(x)} / In(y)); },
       [](Set x, Set y, Set) { return replay::Divide(x, y); }},
      {"fma", 3, [](float x, float y, float z) { return Rounded(std::fma(In(x), In(y), In(z))); },
       [](Set x, Set y, Set z) { return replay::Fma(x, y, z); }},
      {"max", 2,
       [](float x, float y, float) {
         if (std::isnan(x)) return In(y);
         if (std::isnan(y)) return In(x);
         return Place(In(x)) > Place(In(y)) ? In(x) : In(y);
       },
       [](Set x, Set y, Set) { return replay::Max(x, y); }},
  };
}

class Draw {
 public:
  float Number() {
    const float some[] = {
        0.0f,      -0.0f,      1.0f,      -1.0f,           kInfinity,        -kInfinity,
        0x1p-126f, -0x1p-126f, 0x1p-149f, 0x1.fffffep127f, -0x1.fffffep127f, 0x1p-63f,
        0x1p64f};
    if (Below(3) != 0) return some[Below(13)];
    const float any = std::bit_cast<float>(static_cast<uint32_t>(random_()));
    return std::isnan(any) ? 0.5f : any;
  }
  Admissible Set() {
    const uint32_t way = Below(20);
    if (way == 0) return kNaN;
    if (way == 1) return Admissible::Anything();
    const int64_t place = Place(Number());
    int64_t other = place + (Below(3) == 0 ? 0 : static_cast<int64_t>(Below(4)));
    if (way == 2) other = Place(Number());
    const int64_t end = Place(kInfinity), low = std::min(place, other),
                  high = std::max(place, other);
    return {AtPlace(std::clamp(low, -end - 1, end)), AtPlace(std::clamp(high, -end - 1, end))};
  }
  uint32_t Below(uint32_t n) { return static_cast<uint32_t>(random_() % n); }

  // Some of the numbers of a set, its ends, zeros and infinities among them.
  std::vector<float> Of(const Admissible& set) {
    if (set.IsNaN()) return {kNaN};
    if (set.IsAnything()) return {kNaN, -kInfinity, -1.0f, -0.0f, 0.0f, 2.0f, kInfinity};
    std::vector<float> numbers = {set.low, set.high};
    for (const float x : {0.0f, -0.0f, 1.0f, -0x1p-149f, 0x1p-126f, 3e38f}) {
      if (set.Contains(x)) numbers.push_back(x);
    }
    const int64_t steps = Place(set.high) - Place(set.low);
    for (int64_t n = 1; n < 4; ++n) numbers.push_back(AtPlace(Place(set.low) + steps * n / 4));
    return numbers;
  }

 private:
  std::mt19937_64 random_{7};
};

TEST(FlushedArithmeticTest, SetsHoldWhatTheirNumbersGive) {
  Draw draw;
  for (const Operation& operation : Operations()) {
    int pinned = 0, tight = 0, numbers = 0;
    for (int n = 0; n < 6000; ++n) {
      const Admissible x = draw.Set(), y = draw.Set(), z = draw.Set();
      const Admissible got = operation.of_sets(x, y, z);
      Admissible all;
      bool first = true;
      const std::vector<float> none = {0.0f};
      for (const float a : draw.Of(x)) {
        for (const float b : draw.Of(y)) {
          for (const float c : operation.operands == 3 ? draw.Of(z) : none) {
            const float want = operation.of_numbers(a, b, c);
            ASSERT_TRUE(got.Contains(want))
                << operation.name << " " << a << " " << b << " " << c << ": " << want << " not in "
                << got.low << " .. " << got.high;
            all = first ? Admissible(want) : Union(all, want);
            first = false;
          }
        }
      }
      const bool is_number = !got.IsNaN() && !got.IsAnything();
      numbers += is_number;
      pinned += is_number && got.IsPinned();
      tight += is_number && all.Contains(got.low) && all.Contains(got.high);
    }
    EXPECT_GT(pinned, 200) << operation.name;
    EXPECT_EQ(tight, numbers) << operation.name;
  }
}

TEST(FlushedArithmeticTest, FlushesOperandsAndResults) {
  namespace replay = bitanchor::replay;
  const auto same = [](const Admissible& got, float want) {
    EXPECT_TRUE(got.IsPinned());
    EXPECT_EQ(Place(got.low), Place(want)) << got.low << ", want " << want;
  };
  same(replay::Add(0x1.fffffcp-127f, 0x1p-126f), 0x1p-126f);
  same(replay::Add(0x1.8p-126f, -0x1p-126f), 0.0f);
  same(replay::Multiply(0x1p-127f, 0x1p100f), 0.0f);
  same(replay::Multiply(-0x1p-100f, 0x1p-27f), -0.0f);
  same(replay::Fma(0x1p-127f, 0x1p100f, 1.0f), 1.0f);
  same(replay::Fma(0x1p-100f, 0x1p-27f, 0x1p-126f), 0x1.8p-126f);
  same(replay::Fma(1.0f, 1.0f, -0x1p-149f), 1.0f);
  same(replay::Divide(0x1p-126f, 4.0f), 0.0f);
  same(replay::Max(-1.0f, -0x1p-149f), -0.0f);
  same(replay::Max(kNaN, -3.0f), -3.0f);
  EXPECT_TRUE(replay::Max(kNaN, kNaN).IsNaN());
}

TEST(AdmissibleTest, ContainsAndIsPinned) {
  EXPECT_TRUE(Admissible(kNaN).Contains(kNaN));
  EXPECT_FALSE(Admissible(kNaN).Contains(1));
  EXPECT_FALSE(Admissible(1.0f, 2.0f).Contains(kNaN));
  EXPECT_TRUE(Admissible::Anything().Contains(kNaN));
  EXPECT_TRUE(Admissible::Anything().Contains(-kInfinity));
  EXPECT_FALSE(Admissible(0.0f).Contains(-0.0f));
  EXPECT_TRUE(Admissible(-0.0f, 0.0f).Contains(0.0f));
  EXPECT_FALSE(Admissible(-0.0f, 0.0f).IsPinned());
  EXPECT_TRUE(Admissible(kNaN).IsPinned());
  EXPECT_FALSE(Admissible::Anything().IsPinned());
  EXPECT_TRUE(Union(Admissible(kNaN), 1.0f).IsAnything());
}

}  // namespace
