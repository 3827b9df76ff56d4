// Online softmax over tiles of keys, as kernels run it, in f64 but for what is named here: what a
// kernel would answer that rounds where others do not, whose exp is a little off, or that forgets
// to rescale a sum. Intervals are wide enough for every right schedule and admit many of these; the
// answer of such a kernel, known almost to the bit, tells which one it is.
//
// With tile T the keys [nT, nT + T) are a tile; m, l and o start at -inf, 0, 0, and a tile makes
//   m' = max(m, max_j t_j)    f = E(m - m')    p_j = E(t_j - m')    E(x) = exp(x) by default
//   l  = f l + sum_j p_j      o = f o + sum_j p_j v_j               t_j = scale q.k_j
// At the end o / l and lse = m + log l.
#ifndef BITANCHOR_LIB_EXACT_TILED_KERNEL_H_
#define BITANCHOR_LIB_EXACT_TILED_KERNEL_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/exact/mistaken_attention.h"
#include "lib/number/format.h"

namespace bitanchor::exact {

// One rounding to a format.
struct Quantum {
  Format format;
  Rounding mode = Rounding::kNearestEven;
  bool operator==(const Quantum& other) const {
    return format.precision == other.format.precision &&
           format.min_exponent == other.format.min_exponent &&
           format.max_exponent == other.format.max_exponent &&
           format.specials == other.format.specials && mode == other.mode;
  }
};
double Quantised(const Quantum& quantum, double x);

// What a tile does not rescale when its maximum is larger than that of the tiles before.
enum class RescaleFault {
  kNone,
  kOutput,        // o
  kSum,           // l
  kBoth,          // neither sum
  kStaleMaximum,  // its own weights: they are relative to the maximum before
};

struct TiledKernel {
  int64_t tile = 0;         // keys; 0: the whole row
  bool descending = false;  // the last tile first

  // Roundings that the kernel makes beyond f32's.
  std::optional<Quantum> scores;         // q.k, before it is scaled
  int64_t score_group = 0;               // and after every so many dimensions of the sum; 0: once
  std::optional<Quantum> scaled_scores;  // t
  std::optional<Quantum> weights;        // p where it meets v
  std::optional<Quantum> summed;         // p where it is added to l
  std::optional<Quantum> running;        // o after every tile
  std::optional<Quantum> output;         // o / l

  double scale = 1, exponent = 1, row_sum = 1;  // factors of the scale, of E's argument and of l
  double lse_offset = 0;                        // what LSE has besides
  // Relative errors of E(x) by the fractional part of x log2(e), at equal steps over its lower half
  // and then, as many again, over its upper half, ends included, linear between: how an exp that
  // takes whole powers of two apart, by floor or to nearest, is off. Empty: it is not.
  std::vector<double> exp_errors = {};

  // Relative errors of the weight 1 of the largest score so far, and of those that were the largest
  // before: where the kernel's score and maximum differ by a rounding, a weight is not quite 1, and
  // a rounding that is not to nearest sees that.
  double largest_error = 0, earlier_error = 0;

  RescaleFault fault = RescaleFault::kNone;
  std::optional<int64_t> faulty_tile = std::nullopt;  // by number; none: all
};

// o [D] before its last rounding (but for `output`) and lse. No keys: o = 0, lse = -inf.
RowAnswer Answer(const TiledKernel& kernel, const GatheredRow& row);

// The same in two steps, so that kernels which differ in what becomes of a tile's sums alone
// (fault, running, row_sum, output) need their keys only once. First the sums of each tile the row
// sees keys of, in the order of visits.
struct TileSums {
  int64_t number;
  bool first;  // no tile before it has a weight
  double f, m;
  double l;               // sum of p_j
  std::vector<double> o;  // [D], sum of p_j v_j
  double stale_l;         // with weights relative to the maximum before
  std::vector<double> stale_o;
};
struct RowSums {
  int64_t D;
  std::vector<TileSums> tiles;
};
// dots [n]: q.k of each key as DotsOf(kernel, row) returns them.
std::vector<double> DotsOf(const TiledKernel& kernel, const GatheredRow& row);
RowSums SumsOf(const TiledKernel& kernel, const GatheredRow& row, const std::vector<double>& dots);
RowAnswer Combined(const TiledKernel& kernel, const RowSums& sums);
// Whether both kernels have the same sums; the same dots.
bool SameSums(const TiledKernel& one, const TiledKernel& other);
bool SameDots(const TiledKernel& one, const TiledKernel& other);

// d lse / d exp_errors[n] of a right kernel with this tile and order, n < N; dots as in SumsOf.
std::vector<double> LseByExpErrors(const TiledKernel& kernel, const GatheredRow& row,
                                   const std::vector<double>& dots, int64_t N);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_TILED_KERNEL_H_
