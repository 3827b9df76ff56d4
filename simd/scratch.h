// Aligned, growing buffers that a worker keeps between tasks.
#ifndef BITANCHOR_SIMD_SCRATCH_H_
#define BITANCHOR_SIMD_SCRATCH_H_

#include <cstddef>
#include <vector>

#include "hwy/aligned_allocator.h"
#include "simd/key_groups.h"

namespace bitanchor::simd {

template <typename T>
class AlignedBuffer {
 public:
  // At least `size` elements; what was there before is lost when it grows.
  T* Reserve(size_t size) {
    if (size > size_) {
      data_.reset();  // never both at once
      data_ = hwy::AllocateAligned<T>(size);
      size_ = size;
    }
    return data_.get();
  }

 private:
  hwy::AlignedFreeUniquePtr<T[]> data_;
  size_t size_ = 0;
};

// Scores are one large piece of memory for each task: a process that calls again then finds it
// where malloc kept it, page faults paid.

// What one block of queries needs while it is worked on; see attention-inl.h for the shapes.
struct QueryBlockScratch {
  KeyGroups groups;
  AlignedBuffer<float> q, rows, sums, stats;
};

// What one unit of a decode needs, and what the units of a task use in turn; see decode-inl.h.
struct DecodeScratch {
  std::vector<uint64_t> visible;
  AlignedBuffer<float> q, sums, stats;
};
struct DecodeSliceScratch {
  AlignedBuffer<float> keys, rows, values, weights;
};
struct DecodeTaskScratch {
  std::vector<DecodeScratch> units;
  DecodeSliceScratch slice;
  AlignedBuffer<float> scores;  // of all units
};

// One worker's memory for attention.
struct AttentionScratch {
  std::vector<QueryBlockScratch> blocks;  // of the task's query blocks
  AlignedBuffer<float> packs, plain;      // one key block; one more, in f32
  AlignedBuffer<float> scores;            // of all blocks
};

// One block of queries on its way back, and one worker's memory; see attention_backward-inl.h.
struct BackwardBlockScratch {
  KeyGroups groups;
  AlignedBuffer<float> q, dout, dq, q_columns, dout_columns, statistics;
};
struct BackwardTaskScratch {
  std::vector<BackwardBlockScratch> blocks;
  AlignedBuffer<float> scores, gradients, rows, k_rows, v_rows, k_tiles;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_SCRATCH_H_
