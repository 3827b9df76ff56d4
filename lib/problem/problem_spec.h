// A problem in a few numbers: what `bitanchor gen` draws and what a golden keeps instead of
// tensors.
#ifndef BITANCHOR_LIB_PROBLEM_PROBLEM_SPEC_H_
#define BITANCHOR_LIB_PROBLEM_PROBLEM_SPEC_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/problem/mask.h"
#include "lib/problem/rope_config.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

struct ProblemSpec {
  AttentionShape shape;
  DType dtype = DType::kBF16;  // of q, k, v and do
  MaskSpec mask;
  float softmax_scale = 0;
  std::optional<RopeConfig> rope;  // without tables and sequence_length
  bool gradient = false;           // whether do is given, so that there are dq, dk and dv

  // The documents that every sequence of Skv keys is made of, in order: their lengths, adding up to
  // Skv. Empty: one. Document n has id n; with rule anchor the first token is the anchor, id 0, and
  // takes its place out of the first document's length, and document n has id n + 1.
  std::vector<int64_t> documents;
  bool reset_positions = false;  // positions start again at 0 in each document; else 0..Skv-1
  uint64_t seed = 0;             // of gen-1 (lib/problem/generate.h)
};

// Throws InputError for sizes below 1 and more than 2^40 elements in a tensor.
void CheckSizes(const AttentionShape& shape);

// The problem, ids and positions filled in, but for its tensors: q, k and v have shapes and no
// memory. Query i is the token of key i + off (off as mask.corner says): ids where the rule needs
// them, positions where there is rope. Throws InputError naming the field ("documents") where the
// spec does not describe a valid problem.
AttentionProblem WithoutTensors(const ProblemSpec& spec);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_PROBLEM_SPEC_H_
