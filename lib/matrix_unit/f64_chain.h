// Matrices of f64 through a unit: d = a b + c, one IEEE fused multiply-add after another.
//
// Source: MMA-Sim (arXiv 2511.10909), whose models of NVIDIA's `mma` with f64 and of AMD's
// V_MFMA_F64 instructions are this chain.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_F64_CHAIN_H_
#define BITANCHOR_LIB_MATRIX_UNIT_F64_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitanchor::matrix_unit {

// The units that take f64, of those that lib/matrix_unit/model.h names.
std::span<const std::string_view> UnitsOfF64();
bool TakesF64(std::string_view unit);

// Dense row-major matrices of f64 in the host's byte order, no alignment needed.
struct F64MatMul {
  int64_t G = 1, M = 1, K = 1, N = 1;
  const std::byte* a = nullptr;  // [G, M, K]
  const std::byte* b = nullptr;  // [G, K, N]
  const std::byte* c = nullptr;  // [G, M, N]; null: +0
  // 1..K. With more than one, K is cut into so many runs of equal length (the last may be shorter);
  // the first starts from c, the others from +0, and their results are added in ascending order.
  int64_t slices = 1;
};

// Row `m` of matrix `g` of d [G, M, N], f64: fold over k ascending of fma(a_k, b_k, d) from c.
// Every NaN is the canonical one, 7ff8000000000000: the units' own is not published. Rows may be
// computed by several threads at once.
void PredictF64Row(const F64MatMul& product, int64_t g, int64_t m, std::byte* d);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_F64_CHAIN_H_
