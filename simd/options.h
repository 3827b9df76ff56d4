// What a caller may choose about an engine run. No choice here can change a bit of the result.
#ifndef BITANCHOR_SIMD_OPTIONS_H_
#define BITANCHOR_SIMD_OPTIONS_H_

#include <cstdint>
#include <functional>

namespace bitanchor::simd {

struct EngineOptions {
  int threads = 0;          // 0: one per core. 1: a plain loop that never touches oneTBB
  int64_t target = 0;       // 0: the best; else a value of targets.h
  int64_t key_block = 128;  // keys classified and packed at a time; rounded up to a multiple of 8
  // Called now and then with (done, total) tasks, from any one thread at a time. May be empty.
  std::function<void(int64_t, int64_t)> progress;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_OPTIONS_H_
