// Chains of hulls on lanes are chains of matrix_unit::DotAddHull, to the bit of f32.
#include "simd/hull_chain.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "lib/matrix_unit/dot_add.h"
#include "lib/matrix_unit/hull.h"
#include "lib/number/format.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

using matrix_unit::Hull;
using matrix_unit::Model;
using simd::kPanelColumns;
using simd::kPanelProducts;

constexpr int64_t kRows = 9, kColumns = 37;

// What chains begin from, and how often an element of a is open.
struct Style {
  int c_steps;     // c_high is up to so many steps of f32 above c_low
  double open;     // of a's elements, this share
  int a_steps;     // and their other value so many steps above
  double special;  // of all numbers, this share is an infinity, a NaN or zero
  int scale;       // numbers are about 2^scale
};

struct Chain {
  std::vector<uint16_t> a, b;  // [kRows, kPanelProducts], [K, kColumns]
  std::vector<simd::OpenElement> open;
  std::vector<Hull> c;  // [kRows, kColumns]
  int64_t K;

  Chain(const Model& model, const Style& style, int64_t products, uint64_t seed)
      : a(kRows * kPanelProducts), K(products) {
    std::mt19937_64 random(seed);
    std::normal_distribution<double> normal;
    std::uniform_real_distribution<double> share(0, 1);
    const auto number = [&](double x) {
      const uint32_t infinity = static_cast<uint32_t>(model.format.InfinityBits());
      if (share(random) < style.special) {
        constexpr int kKinds = 4;
        const uint32_t kinds[kKinds] = {infinity, infinity + 1, 0, 0x8000};
        return static_cast<uint16_t>(kinds[random() % kKinds]);
      }
      return static_cast<uint16_t>(
          RoundBits(model.format, std::ldexp(x, style.scale), Rounding::kNearestEven, 0));
    };
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t k = 0; k < K; ++k) {
        uint16_t& bits = a[static_cast<size_t>(row * kPanelProducts + k)];
        bits = number(std::fabs(normal(random)));
        const bool finite = bits + style.a_steps <= static_cast<int>(model.format.InfinityBits());
        if (finite && share(random) < style.open) {
          open.push_back({row, k, static_cast<uint16_t>(bits + style.a_steps)});
        }
      }
    }
    for (int64_t n = 0; n < K * kColumns; ++n) b.push_back(number(normal(random)));
    for (int64_t n = 0; n < kRows * kColumns; ++n) {
      float low = static_cast<float>(std::ldexp(normal(random), 2 * style.scale));
      if (random() % 5 == 0) low = 0;
      if (random() % 5 == 0) low *= 1e-6f;
      if (share(random) < style.special / 4) low = -std::numeric_limits<float>::infinity();
      float high = low;
      for (uint64_t up = random() % static_cast<uint64_t>(style.c_steps + 1); up > 0; --up) {
        high = std::nextafter(high, std::numeric_limits<float>::infinity());
      }
      c.push_back({std::bit_cast<uint32_t>(low), std::bit_cast<uint32_t>(high)});
    }
  }

  std::vector<Hull> ByDefinition(const Model& model, std::vector<bool>& anything) const {
    std::vector<Hull> hulls = c;
    anything.assign(kRows, false);
    for (int64_t row = 0; row < kRows; ++row) {
      std::vector<Unpacked> low, high;
      for (int64_t k = 0; k < K; ++k) {
        low.push_back(Operand(model, a[static_cast<size_t>(row * kPanelProducts + k)]));
      }
      high = low;
      for (const simd::OpenElement& element : open) {
        if (element.row != row) continue;
        high[static_cast<size_t>(element.k)] = Operand(model, element.high);
      }
      for (int64_t j = 0; j < kColumns; ++j) {
        std::vector<Unpacked> column;
        for (int64_t k = 0; k < K; ++k) {
          column.push_back(Operand(model, b[static_cast<size_t>(k * kColumns + j)]));
        }
        Hull& hull = hulls[static_cast<size_t>(row * kColumns + j)];
        for (size_t k = 0; k < column.size(); k += static_cast<size_t>(model.products)) {
          const size_t count = std::min(static_cast<size_t>(model.products), column.size() - k);
          hull = DotAddHull(model, model.f32, std::span(low).subspan(k, count),
                            std::span(high).subspan(k, count), std::span(column).subspan(k, count),
                            hull);
          const auto is_nan = [](uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; };
          if (is_nan(hull.high) && !is_nan(hull.low)) anything[static_cast<size_t>(row)] = true;
        }
      }
    }
    return hulls;
  }
};

std::vector<Hull> ByEngine(const Model& model, const Chain& chain, int64_t target,
                           std::vector<bool>& anything) {
  const size_t size = static_cast<size_t>(kRows * kPanelColumns);
  const auto low = hwy::AllocateAligned<float>(size), high = hwy::AllocateAligned<float>(size);
  std::fill_n(low.get(), size, 1.0f);
  std::fill_n(high.get(), size, 1.0f);
  for (int64_t n = 0; n < kRows * kColumns; ++n) {
    const int64_t at = n / kColumns * kPanelColumns + n % kColumns;
    low[at] = std::bit_cast<float>(chain.c[static_cast<size_t>(n)].low);
    high[at] = std::bit_cast<float>(chain.c[static_cast<size_t>(n)].high);
  }
  std::vector<const std::byte*> b;
  for (int64_t k = 0; k < chain.K; ++k) {
    b.push_back(reinterpret_cast<const std::byte*>(&chain.b[static_cast<size_t>(k * kColumns)]));
  }
  anything.assign(kRows, false);
  const simd::UnitKernels kernels = simd::UnitKernelsOf(target);
  simd::HullScratch scratch;
  simd::HullChain(model, kernels, scratch)
      .Add({chain.a.data(), b, chain.open, &anything, kRows, kColumns}, low.get(), high.get());
  std::vector<Hull> hulls;
  for (int64_t n = 0; n < kRows * kColumns; ++n) {
    const int64_t at = n / kColumns * kPanelColumns + n % kColumns;
    hulls.push_back({std::bit_cast<uint32_t>(low[at]), std::bit_cast<uint32_t>(high[at])});
  }
  return hulls;
}

TEST(HullChain, IsTheDefinitionsToTheBit) {
  constexpr Style kStyles[] = {
      {0, 0, 0, 0, 0},        {3, 0, 0, 0, 0},       {4000, 0, 0, 0, 0},  {3, 0.01, 1, 0, 0},
      {100, 0.1, 1, 0, 0},    {3, 0.3, 1, 0, 0},     {3, 0.05, 2, 0, 0},  {3, 0.05, 1, 0.02, 0},
      {500, 0.02, 1, 0.3, 0}, {9, 0.05, 3, 0.01, 0}, {5, 0.05, 1, 0, -7}, {5, 0.05, 1, 0, 7},
      {5, 0.05, 1, 0.1, -30}, {5, 0.02, 1, 0, -64},  {5, 0.02, 1, 0, 63},
  };
  int64_t compared = 0, pinned = 0, anything_rows = 0, not_finite = 0;
  uint64_t seed = 1;
  for (const auto& [unit, dtype] : {std::pair{"hopper", DType::kBF16},
                                    {"ampere", DType::kBF16},
                                    {"ampere", DType::kF16},
                                    {"volta", DType::kF16}}) {
    const Model& model = *matrix_unit::FindModel(unit, dtype);
    for (const Style& style : kStyles) {
      ++seed;
      const Chain chain(model, style, 16 + static_cast<int64_t>(seed % 21), seed);
      std::vector<bool> want_anything, got_anything;
      const std::vector<Hull> want = chain.ByDefinition(model, want_anything);
      for (const simd::Target& target : simd::Targets()) {
        const std::vector<Hull> got = ByEngine(model, chain, target.bit, got_anything);
        for (size_t n = 0; n < want.size(); ++n) {
          const size_t row = n / static_cast<size_t>(kColumns);
          const std::string what = target.name + " " + unit + " seed " + std::to_string(seed) +
                                   " row " + std::to_string(row) + " of " + std::to_string(n);
          ASSERT_EQ(got_anything[row], want_anything[row]) << what;
          if (want_anything[row]) continue;
          ASSERT_EQ(got[n].low, want[n].low) << what;
          ASSERT_EQ(got[n].high, want[n].high) << what;
          ++compared;
          pinned += want[n].low == want[n].high;
          not_finite += (want[n].low & 0x7f800000u) == 0x7f800000u;
        }
      }
      for (const bool row : want_anything) anything_rows += row;
    }
  }
  EXPECT_GT(compared, 50000);
  EXPECT_GT(pinned, compared / 10);
  EXPECT_LT(pinned, compared / 2);
  EXPECT_GT(anything_rows, 5);
  EXPECT_GT(not_finite, 100);
}

}  // namespace
}  // namespace bitanchor
