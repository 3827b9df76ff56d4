#include "tests/digest/cpu.h"

namespace bitanchor::digest {

#if defined(__x86_64__)

// __builtin_cpu_supports takes literals only.
#define BITANCHOR_LACKS(feature) \
  if (!__builtin_cpu_supports(feature)) return feature

std::string FeatureThisCpuLacks(const std::string& target) {
  const bool dl = target.starts_with("AVX3_"), avx3 = dl || target == "AVX3";
  const bool avx2 = avx3 || target == "AVX2", sse4 = avx2 || target == "SSE4";
  if (sse4 || target == "SSSE3") BITANCHOR_LACKS("ssse3");
  if (sse4) {
    BITANCHOR_LACKS("sse4.2");
    BITANCHOR_LACKS("pclmul");
  }
  if (avx2) {
    BITANCHOR_LACKS("avx2");
    BITANCHOR_LACKS("fma");
    BITANCHOR_LACKS("bmi2");
  }
  if (avx3) {
    BITANCHOR_LACKS("avx512f");
    BITANCHOR_LACKS("avx512vl");
    BITANCHOR_LACKS("avx512bw");
    BITANCHOR_LACKS("avx512dq");
  }
  if (dl) {
    BITANCHOR_LACKS("avx512vbmi2");
    BITANCHOR_LACKS("avx512vnni");
    BITANCHOR_LACKS("avx512bitalg");
    BITANCHOR_LACKS("vpclmulqdq");
  }
  if (target == "AVX3_BF16" || target == "AVX3_ZEN4" || target == "AVX3_SPR") {
    BITANCHOR_LACKS("avx512bf16");
  }
  // Highway gives this one to AMD's CPUs alone.
  if (target == "AVX3_ZEN4" && !__builtin_cpu_is("amd")) return "AMD's name";
  return "";
}

#undef BITANCHOR_LACKS

#else

std::string FeatureThisCpuLacks(const std::string&) { return ""; }

#endif

}  // namespace bitanchor::digest
