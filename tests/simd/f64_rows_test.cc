// The fast loops of drift give the definition's bits on every target.
#include "simd/f64_rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "lib/drift/row_kernels.h"
#include "simd/targets.h"

namespace bitanchor {
namespace {

using drift::LaneRange;
using Row = std::vector<double>;

constexpr double kInf = std::numeric_limits<double>::infinity();

// NaNs count as equal: their payloads do not matter.
void ExpectSame(const Row& got, const Row& want, const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  for (size_t n = 0; n < got.size(); ++n) {
    if (std::isnan(got[n]) && std::isnan(want[n])) continue;
    ASSERT_EQ(std::bit_cast<uint64_t>(got[n]), std::bit_cast<uint64_t>(want[n]))
        << what << " at " << n << std::hexfloat << ": got " << got[n] << ", want " << want[n];
  }
}

Row Draw(std::mt19937_64& random, size_t count, double size) {
  std::normal_distribution<double> normal(0, size);
  Row row(count);
  for (double& x : row) x = normal(random);
  return row;
}

TEST(F64Rows, ProductIsTheDefinitions) {
  std::mt19937_64 random(1);
  ASSERT_FALSE(simd::Targets().empty());
  for (const int64_t K : {1, 2, 3, 7, 64, 129}) {
    const Row a = Draw(random, static_cast<size_t>(8 * K), 1);
    const Row panel = Draw(random, static_cast<size_t>(8 * K), 1e5);
    const double* rows[8];
    for (int64_t r = 0; r < 8; ++r) rows[r] = a.data() + (r < 6 ? r : 5) * K;
    const auto run = [&](auto product) {
      Row out(64, 7);
      double* to[8];
      for (int64_t r = 0; r < 8; ++r) to[r] = out.data() + 8 * (r < 6 ? r : 5);
      product(rows, panel.data(), K, to);
      return out;
    };
    const Row want = run(drift::PortableRowKernels().product);
    for (const simd::Target& target : simd::Targets()) {
      ExpectSame(run(simd::RowKernelsOf(target.bit).product), want, target.name);
    }
    EXPECT_EQ(want[56], 7);  // no row was written
  }
}

TEST(F64Rows, SoftmaxIsTheDefinitions) {
  std::mt19937_64 random(2);
  const std::vector<LaneRange> ranges = {{0, 8}, {16, 40}, {64, 264}};
  for (const double size : {1e-3, 1.0, 30.0, 400.0, 1e6}) {
    for (int kind = 0; kind < 5; ++kind) {
      Row s = Draw(random, 272, size);
      if (kind == 1) s[3] = s[17] = s[263] = -kInf;
      if (kind == 2) s[20] = std::nan("");
      if (kind == 3) s[21] = kInf;
      if (kind == 4) {  // results at the edges of f64's range
        for (size_t n = 0; n < s.size(); ++n) s[n] = -static_cast<double>(n) * 3;
      }
      const auto run = [&](auto softmax) {
        Row w(272, 5);
        softmax(ranges, 0.97, s.data(), w.data());
        return w;
      };
      const Row want = run(drift::PortableRowKernels().softmax);
      for (const simd::Target& target : simd::Targets()) {
        ExpectSame(run(simd::RowKernelsOf(target.bit).softmax), want, target.name);
      }
      EXPECT_EQ(want[8], 5);  // outside of the ranges
      EXPECT_EQ(want[264], 5);
    }
  }
}

TEST(F64Rows, CompareIsTheDefinitions) {
  std::mt19937_64 random(3);
  const std::vector<LaneRange> ranges = {{0, 8}, {16, 48}};
  Row s = Draw(random, 56, 1), s_other = Draw(random, 56, 1), w = Draw(random, 56, 1),
      w_other = Draw(random, 56, 1);
  s[1] = kInf;
  w[2] = std::nan("");
  w[3] = w_other[3];
  const auto run = [&](auto compare) {
    Row out(4 * 56, 0.1);
    for (int twice = 0; twice < 2; ++twice) {
      compare(ranges, s.data(), s_other.data(), w.data(), w_other.data(), out.data(),
              out.data() + 56, out.data() + 112, out.data() + 168);
    }
    return out;
  };
  const Row want = run(drift::PortableRowKernels().compare);
  for (const simd::Target& target : simd::Targets()) {
    ExpectSame(run(simd::RowKernelsOf(target.bit).compare), want, target.name);
  }
}

}  // namespace
}  // namespace bitanchor
