// What the loops of simd/replay_rows-inl.h take.
#ifndef BITANCHOR_SIMD_REPLAY_PLAN_H_
#define BITANCHOR_SIMD_REPLAY_PLAN_H_

#include <cstdint>

#include "lib/recipe/schedule.h"
#include "lib/tensor/dtype.h"

namespace bitanchor::simd {

// What the arguments of exp2 of a row's scores are made with.
struct RowArguments {
  ExpArgument kind;
  float factor;      // c
  float max;         // M', 0 where it counts as that
  float scaled_max;  // M_c
  int ulp;           // of the powers' ends; at most kMostUlp
};

constexpr int kMostUlp = 1 << 20;    // of powers above 2^-125 all ends are normal
constexpr float kOpenPower = -1.0f;  // where SpecialFunctions must be asked

// One target's loops. Rows are aligned; count: a multiple of 16.
struct ReplayKernels {
  // Flushes the scores; the greatest of them and `largest`, NaN being passed over.
  float (*largest)(float* s, int64_t count, float largest);
  // Arguments of flushed scores into x; the ends of the sets of their powers, or kOpenPower. True:
  // some are.
  bool (*powers)(const RowArguments& row, const float* s, int64_t count, float* x, float* low,
                 float* high);
  // To the 16 bits of dtype, nearest-even.
  void (*round)(DType dtype, const float* from, int64_t count, uint16_t* to);
  // Multiplies the sets [low, high] by the set [least, most] of numbers of at least +0; no zero
  // meets an infinity. high: nullptr where all sets are of one number.
  void (*scale)(float* low, float* high, int64_t count, float least, float most);
};

// The loops that run on `target` (0: the best).
ReplayKernels ReplayKernelsOf(int64_t target);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_REPLAY_PLAN_H_
