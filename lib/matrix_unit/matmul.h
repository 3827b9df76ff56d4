// Matrices through a unit: d = a b + c, cut into blocks that can be computed apart.
#ifndef BITANCHOR_LIB_MATRIX_UNIT_MATMUL_H_
#define BITANCHOR_LIB_MATRIX_UNIT_MATMUL_H_

#include <cstddef>
#include <cstdint>

#include "lib/matrix_unit/model.h"

namespace bitanchor::matrix_unit {

// Dense row-major matrices in the host's byte order, no alignment needed.
struct MatMul {
  const Model* model = nullptr;
  const Result* result = nullptr;  // one of the model's
  int64_t G = 1, M = 1, K = 1, N = 1;
  const std::byte* a = nullptr;  // [G, M, K], of model->dtype
  const std::byte* b = nullptr;  // [G, K, N], the same
  const std::byte* c = nullptr;  // [G, M, N], f32; null: +0
  int64_t slices = 1;            // of K, as ChainedDotAdd takes them
};

// Element (m, n) of one matrix of the G: rows [m, m + rows), columns [n, n + columns).
struct Block {
  int64_t g = 0, m = 0, n = 0, rows = 0, columns = 0;
};

// Each element of the block by ChainedDotAdd, c being rounded to the result's storage by
// nearest-even before. d: [G, M, N], elements of the result's storage (f32 or f16). undetermined:
// [G, M, N], 1 where the unit's bits are not known, else 0. Gives how many those are. Blocks of one
// product may be computed by several threads at once.
int64_t PredictBlock(const MatMul& product, const Block& block, std::byte* d,
                     std::byte* undetermined);

// One group of one element, [m, n] of matrix g: the products [k, k + count), at most L of them,
// onto c, by the first reading. c, the answer and `corner`: as DotAdd takes and gives them.
uint32_t PredictGroup(const MatMul& product, int64_t g, int64_t m, int64_t n, int64_t k,
                      int64_t count, uint32_t c, bool& corner);

}  // namespace bitanchor::matrix_unit

#endif  // BITANCHOR_LIB_MATRIX_UNIT_MATMUL_H_
