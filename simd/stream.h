// When results go past the caches. Written lines are not read first then, a third of the traffic of
// an operation that reads once and writes once.
#ifndef BITANCHOR_SIMD_STREAM_H_
#define BITANCHOR_SIMD_STREAM_H_

#include <cstddef>
#include <cstdint>

namespace bitanchor::simd {

constexpr size_t kLineBytes = 64;                  // no vector stored at once is longer
constexpr size_t kStreamBytes = size_t{16} << 20;  // below, a cache may keep the results
constexpr size_t kPrefetchBytes = 4096;            // by measurement; 2048 to 8192 do as well

// Whether an output of `bytes` bytes, written once in order, is worth it and aligned for it.
inline bool MayStream(const void* out, size_t bytes) {
  return bytes >= kStreamBytes && reinterpret_cast<uintptr_t>(out) % kLineBytes == 0;
}

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_STREAM_H_
