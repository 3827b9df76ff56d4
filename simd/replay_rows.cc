#include "simd/replay_plan.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/replay_rows.cc"
#include "hwy/foreach_target.h"
#include "simd/replay_rows-inl.h"

#if HWY_ONCE
#include "simd/dispatch.h"

namespace bitanchor::simd {

HWY_EXPORT(LargestOfRow);
HWY_EXPORT(PowersOfRow);
HWY_EXPORT(RoundRow);
HWY_EXPORT(ScaleRow);

ReplayKernels ReplayKernelsOf(int64_t target) {
  return {&BITANCHOR_DISPATCH(LargestOfRow, target), &BITANCHOR_DISPATCH(PowersOfRow, target),
          &BITANCHOR_DISPATCH(RoundRow, target), &BITANCHOR_DISPATCH(ScaleRow, target)};
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
