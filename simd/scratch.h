// Aligned, growing f32 buffers that a worker keeps between tasks.
#ifndef BITANCHOR_SIMD_SCRATCH_H_
#define BITANCHOR_SIMD_SCRATCH_H_

#include <cstddef>

#include "hwy/aligned_allocator.h"
#include "simd/key_rows.h"

namespace bitanchor::simd {

template <typename T>
class AlignedBuffer {
 public:
  // At least `size` elements; what was there before is lost when it grows.
  T* Reserve(size_t size) {
    if (size > size_) {
      data_ = hwy::AllocateAligned<T>(size);
      size_ = size;
    }
    return data_.get();
  }

 private:
  hwy::AlignedFreeUniquePtr<T[]> data_;
  size_t size_ = 0;
};

// One worker's memory for attention; see attention-inl.h for the shapes.
struct AttentionScratch {
  KeyRows rows;
  AlignedBuffer<float> q, scores, block, sums, stats;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_SCRATCH_H_
