// Array operations cut into tasks.
#ifndef BITANCHOR_SIMD_ELEMENT_BLOCKS_H_
#define BITANCHOR_SIMD_ELEMENT_BLOCKS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "simd/parallel.h"

namespace bitanchor::simd {

// body(begin, count) for blocks of at most `block` elements that cover [0, size).
template <typename Body>
void ForBlocks(size_t size, size_t block, const EngineOptions& options, const Body& body) {
  ParallelFor(options, static_cast<int64_t>((size + block - 1) / block),
              [&](int64_t task, int /*worker*/) {
                const size_t begin = static_cast<size_t>(task) * block;
                body(begin, std::min(block, size - begin));
              });
}

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ELEMENT_BLOCKS_H_
