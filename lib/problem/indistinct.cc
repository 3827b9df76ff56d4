#include "lib/problem/indistinct.h"

#include <algorithm>

namespace bitanchor {
namespace {

bool AllZero(const TensorView& x) {
  const auto [B, S, H, D] = x.shape;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t d = 0; d < D; ++d) {
          if (x.At(b, s, h, d) != 0) return false;
        }
      }
    }
  }
  return true;
}

// Whether in each batch and head every token has the same D numbers.
bool TokensAlike(const TensorView& x) {
  const auto [B, S, H, D] = x.shape;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t h = 0; h < H; ++h) {
      for (int64_t s = 1; s < S; ++s) {
        for (int64_t d = 0; d < D; ++d) {
          if (!(x.At(b, s, h, d) == x.At(b, 0, h, d))) return false;
        }
      }
    }
  }
  return true;
}

bool OneDocument(const Mask& mask) {
  if (mask.spec.rule == MaskRule::kFull) return false;
  const bool anchor = mask.spec.rule == MaskRule::kAnchor;
  for (int64_t b = 0; b < mask.B; ++b) {
    int64_t first = -1;
    for (int64_t j = 0; j < mask.Skv; ++j) {
      const int64_t id = mask.k_ids[b * mask.Skv + j];
      if (anchor && id == 0) continue;
      if (first < 0) first = id;
      if (id != first) return false;
    }
  }
  return true;
}

bool AllZero(const std::vector<int64_t>& positions) {
  return std::all_of(positions.begin(), positions.end(), [](int64_t p) { return p == 0; });
}

}  // namespace

std::vector<std::string> WhyIndistinct(const AttentionProblem& problem) {
  std::vector<std::string> why;
  if (TokensAlike(problem.v)) {
    why.push_back(
        "v: got the same values for every key of a head, so that no weight matters; want keys "
        "that differ");
  }
  for (const auto& [name, tensor] : {std::pair("q", problem.q), std::pair("k", problem.k)}) {
    if (AllZero(tensor)) {
      why.push_back(std::string(name) +
                    ": got zeros alone, so that all weights are equal; want numbers");
    }
  }
  if (OneDocument(problem.mask)) {
    why.push_back(
        "document_ids: got one document, so that documents kept apart or not give the same "
        "answer; want two or more under rule " +
        std::string(Name(problem.mask.spec.rule)));
  }
  return why;
}

std::vector<std::string> WhyRopeIndistinct(const AttentionProblem& problem) {
  std::vector<std::string> why;
  if (!problem.rope) return why;
  if (AllZero(problem.q) && AllZero(problem.k)) {
    why.push_back("q, k: got zeros alone, which no rotation moves; want numbers");
  }
  if (AllZero(problem.q_positions) && AllZero(problem.k_positions)) {
    why.push_back("position_ids: got 0 alone, where RoPE does nothing; want positions that differ");
  }
  return why;
}

}  // namespace bitanchor
