// Choosing a Highway target per call instead of per process. Include after hwy/foreach_target.h's
// passes, in the HWY_ONCE part of a .cc; what it means depends on that file's compiled targets.
#ifndef BITANCHOR_SIMD_DISPATCH_H_
#define BITANCHOR_SIMD_DISPATCH_H_

#include <cstddef>
#include <cstdint>

#include "hwy/highway.h"
#include "simd/bf16_dot.h"

// The entry of an HWY_EXPORTed table for `target` (0: the best this CPU supports).
#define BITANCHOR_DISPATCH(FUNC_NAME, target) \
  (*(HWY_DISPATCH_TABLE(FUNC_NAME)[::bitanchor::simd::DispatchIndex(target)]))

namespace bitanchor::simd {

// Asked once: the answer takes several CPUID, each of which a virtual machine may trap.
inline int64_t SupportedTargets() {
  static const int64_t targets = hwy::SupportedTargets();
  return targets;
}

static inline size_t DispatchIndex(int64_t target) {
#if HWY_TARGETS == HWY_STATIC_TARGET
  (void)target;
  return 0;
#else
  hwy::ChosenTarget chosen;
  const bool best = target == 0 || target == kBF16DotLevel;
  chosen.Update(best ? SupportedTargets() : target);
  return chosen.GetIndex();
#endif
}

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_DISPATCH_H_
