#include "lib/exact/tiled_kernel.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/number/elementary.h"
#include "lib/number/unpacked.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
constexpr double kLog2E = 1.4426950408889634;

double Rounded(const std::optional<Quantum>& quantum, double x) {
  return quantum ? Quantised(*quantum, x) : x;
}

// Where x lies among N nodes of the fractional part of x log2(e), half of them over each half of
// it, ends included: node n with weight 1 - part, the next one with weight `part`.
struct Fraction {
  int64_t n;
  double part;
};

Fraction FractionOf(double x, int64_t N) {
  const double y = x * kLog2E, twice = 2 * (y - std::floor(y));
  const int64_t half = twice < 1 ? 0 : 1, steps = N / 2 - 1;
  const double at = (twice - static_cast<double>(half)) * static_cast<double>(steps);
  const int64_t step = std::clamp(static_cast<int64_t>(at), int64_t{0}, steps - 1);
  return {half * (N / 2) + step, at - static_cast<double>(step)};
}

double Exp(const TiledKernel& kernel, double x) {
  const double exact = number::ExpF64(kernel.exponent * x);
  if (kernel.exp_errors.empty() || exact == 0) return exact;
  const auto [n, part] = FractionOf(x, static_cast<int64_t>(kernel.exp_errors.size()));
  return exact * (1 + (1 - part) * kernel.exp_errors[n] + part * kernel.exp_errors[n + 1]);
}

double Dot(const TiledKernel& kernel, const float* q, const float* k, int64_t D) {
  const int64_t group = kernel.score_group > 0 ? kernel.score_group : D;
  double sum = 0;
  for (int64_t first = 0; first < D; first += group) {
    for (int64_t d = first; d < std::min(first + group, D); ++d)
      sum += static_cast<double>(q[d]) * k[d];
    sum = Rounded(kernel.scores, sum);
  }
  return sum;
}

// t of each key.
std::vector<double> Scaled(const TiledKernel& kernel, const GatheredRow& row,
                           const std::vector<double>& dots) {
  std::vector<double> t(row.n);
  for (int64_t n = 0; n < row.n; ++n)
    t[n] = Rounded(kernel.scaled_scores, dots[n] * (row.scale * kernel.scale));
  return t;
}

// A tile's keys among the row's, in the order of visits.
struct Tile {
  int64_t number, first, end;
};

std::vector<Tile> Tiles(const TiledKernel& kernel, const GatheredRow& row) {
  if (kernel.tile == 0) return {{0, 0, row.n}};
  std::vector<Tile> tiles;
  for (int64_t n = 0; n < row.n; ++n) {
    const int64_t number = row.keys[n] / kernel.tile;
    if (tiles.empty() || tiles.back().number != number) tiles.push_back({number, n, n});
    tiles.back().end = n + 1;
  }
  if (kernel.descending) std::reverse(tiles.begin(), tiles.end());
  return tiles;
}

}  // namespace

double Quantised(const Quantum& quantum, double x) {
  if (!std::isfinite(x)) return x;
  return ToF64(Unpack(quantum.format, RoundBits(quantum.format, x, quantum.mode, 0)));
}

std::vector<double> DotsOf(const TiledKernel& kernel, const GatheredRow& row) {
  std::vector<double> dots(row.n);
  for (int64_t n = 0; n < row.n; ++n) dots[n] = Dot(kernel, row.q.data(), &row.k[n * row.D], row.D);
  return dots;
}

RowSums SumsOf(const TiledKernel& kernel, const GatheredRow& row, const std::vector<double>& dots) {
  RowSums sums{row.D, {}};
  if (row.n == 0) return sums;
  const std::vector<double> t = Scaled(kernel, row, dots);
  const double largest = *std::max_element(t.begin(), t.end());
  double m = -kInf;
  for (const Tile& tile : Tiles(kernel, row)) {
    const double old = m;
    m = std::max(m, *std::max_element(t.begin() + tile.first, t.begin() + tile.end));
    if (std::isinf(m)) continue;  // no weight yet, or one that is not finite
    const bool first = std::isinf(old);
    sums.tiles.push_back({tile.number, first, first ? 0 : Exp(kernel, old - m), m, 0, {}, 0, {}});
    TileSums& of = sums.tiles.back();
    const double top = m == largest ? kernel.largest_error : kernel.earlier_error;
    const auto add = [&](double reference, double& l, std::vector<double>& o) {
      o.assign(row.D, 0);
      for (int64_t n = tile.first; n < tile.end; ++n) {
        const double p = Exp(kernel, t[n] - reference) * (t[n] == reference ? 1 + top : 1);
        const double w = Rounded(kernel.weights, p);
        l += Rounded(kernel.summed, p);
        if (w == 0) continue;
        const float* v = &row.v[n * row.D];
        for (int64_t d = 0; d < row.D; ++d) o[d] += w * v[d];
      }
    };
    add(m, of.l, of.o);
    // Where the maximum stays, the one before is it.
    if (!first && old != m) add(old, of.stale_l, of.stale_o);
  }
  return sums;
}

RowAnswer Combined(const TiledKernel& kernel, const RowSums& sums) {
  const int64_t D = sums.D;
  RowAnswer answer{std::vector<double>(D), -kInf};
  double* const o = answer.o.data();
  double l = 0;
  for (const TileSums& tile : sums.tiles) {
    const bool faulty = kernel.fault != RescaleFault::kNone &&
                        (!kernel.faulty_tile || *kernel.faulty_tile == tile.number);
    const auto is = [&](RescaleFault fault) { return faulty && kernel.fault == fault; };
    const bool both = is(RescaleFault::kBoth);
    const double f_o = both || is(RescaleFault::kOutput) ? 1 : tile.f;
    const double f_l = both || is(RescaleFault::kSum) ? 1 : tile.f;
    const bool stale = is(RescaleFault::kStaleMaximum) && !tile.stale_o.empty();
    const std::vector<double>& add = stale ? tile.stale_o : tile.o;
    l = l * f_l + (stale ? tile.stale_l : tile.l);
    for (int64_t d = 0; d < D; ++d) o[d] = Rounded(kernel.running, o[d] * f_o + add[d]);
  }
  if (sums.tiles.empty()) return answer;
  l *= kernel.row_sum;
  for (int64_t d = 0; d < D; ++d) o[d] = Rounded(kernel.output, o[d] / l);
  answer.lse = sums.tiles.back().m + number::LogF64(l) + kernel.lse_offset;
  return answer;
}

RowAnswer Answer(const TiledKernel& kernel, const GatheredRow& row) {
  return Combined(kernel, SumsOf(kernel, row, DotsOf(kernel, row)));
}

bool SameDots(const TiledKernel& one, const TiledKernel& other) {
  return one.scores == other.scores && one.score_group == other.score_group;
}

bool SameSums(const TiledKernel& one, const TiledKernel& other) {
  return SameDots(one, other) && one.tile == other.tile && one.descending == other.descending &&
         one.scaled_scores == other.scaled_scores && one.weights == other.weights &&
         one.summed == other.summed && one.scale == other.scale && one.exponent == other.exponent &&
         one.exp_errors == other.exp_errors && one.largest_error == other.largest_error &&
         one.earlier_error == other.earlier_error;
}

std::vector<double> LseByExpErrors(const TiledKernel& kernel, const GatheredRow& row,
                                   const std::vector<double>& dots, int64_t N) {
  std::vector<double> slope(N);  // d l / d exp_errors
  if (row.n == 0) return slope;
  const std::vector<double> t = Scaled(kernel, row, dots);
  const auto add = [&](double x, double weight) {
    if (weight == 0) return;  // x may be -inf
    const auto [n, part] = FractionOf(x, N);
    slope[n] += (1 - part) * weight;
    slope[n + 1] += part * weight;
  };
  double m = -kInf, l = 0;
  for (const Tile& tile : Tiles(kernel, row)) {
    const double old = m;
    m = std::max(m, *std::max_element(t.begin() + tile.first, t.begin() + tile.end));
    if (std::isinf(m)) continue;
    if (!std::isinf(old)) {
      const double f = Exp(kernel, old - m);
      add(old - m, l);
      for (double& x : slope) x *= f;
      l *= f;
    }
    for (int64_t n = tile.first; n < tile.end; ++n) {
      const double p = Exp(kernel, t[n] - m);
      add(t[n] - m, p);
      l += p;
    }
  }
  for (double& x : slope) x /= l;
  return slope;
}

}  // namespace bitanchor::exact
