// Matrices through a GPU's matrix unit, fast: the bits of lib/matrix_unit/matmul.h.
#ifndef BITANCHOR_SIMD_MATRIX_UNIT_H_
#define BITANCHOR_SIMD_MATRIX_UNIT_H_

#include <cstddef>
#include <cstdint>

#include "lib/matrix_unit/f64_chain.h"
#include "lib/matrix_unit/matmul.h"
#include "simd/options.h"

namespace bitanchor::simd {

// Whether there are loops on lanes for it: a truncated sum of f16, bf16 or tf32 that is written as
// f32. The others are computed by the definition, on all threads.
bool OnLanes(const matrix_unit::Model& model, const matrix_unit::Result& result);

// matrix_unit::PredictBlock of the whole product, the same bytes on every target and for every
// number of threads: d and undetermined are written, and how many are undetermined comes back.
int64_t MatMul(const matrix_unit::MatMul& product, const EngineOptions& options, std::byte* d,
               std::byte* undetermined);

// matrix_unit::PredictF64Row of every row, on all threads.
void F64MatMul(const matrix_unit::F64MatMul& product, const EngineOptions& options, std::byte* d);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_MATRIX_UNIT_H_
