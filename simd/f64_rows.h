// Loops over rows of f64, fast: the bits of lib/drift/row_kernels.h, which says what each does.
#ifndef BITANCHOR_SIMD_F64_ROWS_H_
#define BITANCHOR_SIMD_F64_ROWS_H_

#include <array>
#include <cstdint>
#include <span>

namespace bitanchor::simd {

using F64Range = std::array<int64_t, 2>;  // [begin, end), multiples of 8
using F64Ranges = std::span<const F64Range>;

// One target's.
struct F64RowKernels {
  void (*product)(const double* const rows[8], const double* panel, int64_t K,
                  double* const out[8]);
  void (*softmax)(F64Ranges ranges, double scale, const double* s, double* w);
  void (*compare)(F64Ranges ranges, const double* s, const double* s_other, const double* w,
                  const double* w_other, double* difference, double* signed_sum, double* abs_sum,
                  double* logit_sum);
};

F64RowKernels RowKernelsOf(int64_t target);  // of EngineOptions

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_F64_ROWS_H_
