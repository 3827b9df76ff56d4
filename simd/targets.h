// The SIMD targets this build was compiled for and this CPU can run.
#ifndef BITANCHOR_SIMD_TARGETS_H_
#define BITANCHOR_SIMD_TARGETS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace bitanchor::simd {

struct Target {
  std::string
      name;     // Highway's: "AVX3", "AVX2", "SSE4", "NEON", ...; ours: "AVX3_BF16", bf16_dot.h
  int64_t bit;  // for EngineOptions::target
};

std::vector<Target> Targets();                  // best first; never empty
int64_t TargetFromName(std::string_view name);  // 0: no such target here

// What really runs under `target` (0: the best): asked of the code that runs, not of the request.
std::string RunningTarget(int64_t target);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_TARGETS_H_
