// The first of the five nouns: what is to be computed. Plain data; the tensors belong to somebody
// else.
#ifndef BITANCHOR_LIB_PROBLEM_ATTENTION_PROBLEM_H_
#define BITANCHOR_LIB_PROBLEM_ATTENTION_PROBLEM_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/problem/mask.h"
#include "lib/problem/rope_config.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {

constexpr int64_t kMaxHeadDim = 256;

struct AttentionShape {
  int64_t B = 0, Sq = 0, Skv = 0, Hq = 0, Hkv = 0, D = 0;
  // GQA: the key head that query head h reads.
  int64_t KeyHead(int64_t h) const { return h / (Hq / Hkv); }
};

struct AttentionProblem {
  AttentionShape shape;
  DType dtype = DType::kF32;         // of q, k and v: BF16, F16 or F32
  TensorView q, k, v;                // [B, Sq, Hq, D], [B, Skv, Hkv, D], [B, Skv, Hkv, D]
  Mask mask;                         // with ids filled in for rules document and anchor
  std::vector<int64_t> q_positions;  // [B, Sq]: 0..2^31-1; empty without rope
  std::vector<int64_t> k_positions;  // [B, Skv], likewise
  float softmax_scale = 0;           // finite, > 0
  std::optional<RopeConfig> rope;    // present: q and k are given before RoPE
};

// Where a backward pass writes. Shapes as q, k and v; none may be absent.
struct AttentionGradients {
  MutableTensorView dq, dk, dv;
};

// The greatest position in use, of queries and keys, which must not be empty.
int64_t LastPosition(const AttentionProblem& problem);

// RN_f32(1/sqrt(D)): the scale where none is given.
float DefaultSoftmaxScale(int64_t D);

// Throws InputError naming the first field that does not fit: sizes >= 1 (D <= 256), Hq a multiple
// of Hkv, dtypes and shapes of q, k, v, sizes and ranges of ids and positions, window_keys, scale,
// rope's fields (rotary_dim, theta, factors, table sizes against the positions used).
void Validate(const AttentionProblem& problem);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_ATTENTION_PROBLEM_H_
