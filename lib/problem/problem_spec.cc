#include "lib/problem/problem_spec.h"

#include <algorithm>
#include <string>

#include "lib/problem/layout.h"
#include "lib/tensor/error.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr int64_t kMaxElements = int64_t{1} << 40;

void CheckDocuments(const std::vector<int64_t>& lengths, int64_t S) {
  int64_t sum = 0;
  for (const int64_t length : lengths) {
    if (length < 1 || length > S) {
      throw InputError("documents", std::to_string(length), "lengths in 1.." + std::to_string(S));
    }
    sum += length;
    if (sum > S) break;
  }
  if (sum == S) return;
  throw InputError("documents",
                   "a sum of " + (sum > S ? "more than " + std::to_string(S) : std::to_string(sum)),
                   std::to_string(S) + ", the number of keys");
}

// Ids and positions of one sequence of Skv keys.
DocumentLayout OneSequence(const ProblemSpec& spec) {
  const bool one = spec.documents.empty();
  DocumentLayout sequence = IntraDocument(
      one ? std::vector<int64_t>{spec.shape.Skv} : spec.documents, spec.reset_positions);
  if (spec.mask.rule != MaskRule::kAnchor) return sequence;
  for (int64_t& id : sequence.document_ids) ++id;
  sequence.document_ids.front() = 0;
  return sequence;
}

// B times the tokens [begin, begin + count) of one sequence.
std::vector<int64_t> Repeat(const std::vector<int64_t>& one, int64_t begin, int64_t count,
                            int64_t B) {
  std::vector<int64_t> all;
  for (int64_t b = 0; b < B; ++b)
    all.insert(all.end(), one.begin() + begin, one.begin() + begin + count);
  return all;
}

// Ids and positions, where something needs them.
void PlaceTokens(const ProblemSpec& spec, AttentionProblem& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  (void)Hq, (void)Hkv, (void)D;
  Mask& mask = problem.mask;
  const bool with_ids = mask.spec.rule != MaskRule::kFull;
  if (!spec.documents.empty()) CheckDocuments(spec.documents, Skv);
  if (!with_ids && !spec.rope) return;
  const int64_t off = mask.Offset();
  if (off < 0 || off + Sq > Skv) {
    throw InputError("shape", std::to_string(Sq) + " queries for " + std::to_string(Skv) + " keys",
                     "a key for every query");
  }
  const DocumentLayout sequence = OneSequence(spec);
  if (with_ids) {
    mask.k_ids = Repeat(sequence.document_ids, 0, Skv, B);
    mask.q_ids = Repeat(sequence.document_ids, off, Sq, B);
  }
  if (!spec.rope) return;
  problem.k_positions = Repeat(sequence.position_ids, 0, Skv, B);
  problem.q_positions = Repeat(sequence.position_ids, off, Sq, B);
  problem.rope->sequence_length = LastPosition(problem) + 1;
}

}  // namespace

void CheckSizes(const AttentionShape& shape) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = shape;
  if (std::min({B, Sq, Skv, Hq, Hkv, D}) < 1) throw InputError("shape", "a size below 1", ">= 1");
  int64_t elements = 1;
  for (const int64_t size : {B, std::max(Sq, Skv), std::max(Hq, Hkv), D}) {
    if (__builtin_mul_overflow(elements, size, &elements) || elements > kMaxElements) {
      throw InputError("shape", "more than 2^40 elements in a tensor", "at most 2^40");
    }
  }
}

AttentionProblem WithoutTensors(const ProblemSpec& spec) {
  CheckSizes(spec.shape);
  AttentionProblem problem;
  problem.shape = spec.shape;
  problem.dtype = spec.dtype;
  problem.softmax_scale = spec.softmax_scale;
  problem.rope = spec.rope;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  problem.mask = {spec.mask, B, Sq, Skv, {}, {}};
  PlaceTokens(spec, problem);
  static const std::byte nothing{};  // a view onto null would be an absent tensor
  problem.q = DenseView(problem.dtype, &nothing, Shape4{B, Sq, Hq, D});
  problem.k = DenseView(problem.dtype, &nothing, Shape4{B, Skv, Hkv, D});
  problem.v = problem.k;
  Validate(problem);
  return problem;
}

}  // namespace bitanchor
