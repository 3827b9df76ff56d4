#include "simd/targets.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/targets.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

int64_t ThisTarget() { return HWY_TARGET; }

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>

#include "simd/dispatch.h"

namespace bitanchor::simd {

HWY_EXPORT(ThisTarget);

namespace {
constexpr const char* kBF16DotName = "AVX3_BF16";
}  // namespace

std::vector<Target> Targets() {
  std::vector<Target> targets;
  const int64_t usable = SupportedTargets() & HWY_TARGETS;
  for (int bit = 0; bit < 63; ++bit) {  // lower bits are better targets
    const int64_t target = int64_t{1} << bit;
    if (usable & target) targets.push_back({hwy::TargetName(target), target});
  }
  if (BF16DotExact()) {
    const auto slower = [](const Target& target) {
      return UsesBF16Dot(0) || target.bit > HWY_AVX3;
    };
    targets.insert(std::find_if(targets.begin(), targets.end(), slower),
                   {kBF16DotName, kBF16DotLevel});
  }
  return targets;
}

int64_t TargetFromName(std::string_view name) {
  for (const Target& target : Targets()) {
    if (target.name == name) return target.bit;
  }
  return 0;
}

std::string RunningTarget(int64_t target) {
  if (UsesBF16Dot(target)) return kBF16DotName;
  return hwy::TargetName(BITANCHOR_DISPATCH(ThisTarget, target)());
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
