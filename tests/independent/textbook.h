// What the tests against tests/independent/textbook.c share: its functions, and the masks and
// values that could tell two programs apart.
#ifndef BITANCHOR_TESTS_INDEPENDENT_TEXTBOOK_H_
#define BITANCHOR_TESTS_INDEPENDENT_TEXTBOOK_H_

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <string>
#include <vector>

#include "tests/support/random_problem.h"

extern "C" {
void textbook(int Sq, int Skv, int D, float scale, int bf16p, const float* q, const float* k,
              const float* v, const unsigned char* visible, float* o, float* lse);
void textbook_backward(int G, int Sq, int Skv, int D, float scale, int bf16p, const float* q,
                       const float* k, const float* v, const float* dout,
                       const unsigned char* visible, float* dq, float* dk, float* dv);
}

namespace bitanchor::independent {

inline std::vector<float> Head(const TensorView& tensor, int64_t b, int64_t h) {
  std::vector<float> out;
  for (int64_t s = 0; s < tensor.shape[1]; ++s) {
    for (int64_t d = 0; d < tensor.shape[3]; ++d) out.push_back(tensor.At(b, s, h, d));
  }
  return out;
}

inline float Rounded(DType dtype, float x) {
  std::byte bytes[4] = {};
  StoreRounded(dtype, bytes, x);
  return LoadF32(dtype, bytes);
}

// [Sq][Skv] of one batch, as the C program takes it.
inline std::vector<unsigned char> Visible(const Mask& mask, int64_t b) {
  std::vector<unsigned char> visible;
  for (int64_t i = 0; i < mask.Sq; ++i) {
    for (int64_t j = 0; j < mask.Skv; ++j) visible.push_back(mask.Visible(b, i, j));
  }
  return visible;
}

inline void ExpectSameBits(const std::vector<float>& got, const std::vector<float>& want,
                           const std::string& what) {
  ASSERT_EQ(got.size(), want.size());
  int64_t different = 0;
  for (size_t n = 0; n < got.size(); ++n) {
    if (std::bit_cast<uint32_t>(got[n]) == std::bit_cast<uint32_t>(want[n])) continue;
    if (++different <= 3)
      ADD_FAILURE() << what << " element " << n << ": got " << got[n] << " want " << want[n];
  }
  ASSERT_EQ(different, 0) << what;
}

struct Case {
  const char* mask_name;
  MaskSpec mask;
};

inline std::vector<Case> Masks() {
  return {{"full", {MaskRule::kFull, false, std::nullopt, Corner::kTopLeft}},
          {"causal", {MaskRule::kFull, true, std::nullopt, Corner::kTopLeft}},
          {"document", {MaskRule::kDocument, true, std::nullopt, Corner::kTopLeft}},
          {"anchor", {MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft}},
          {"window", {MaskRule::kFull, true, 7, Corner::kTopLeft}},
          {"anchor window", {MaskRule::kAnchor, false, 5, Corner::kTopLeft}}};
}

// Every key that some query does not see gets an Inf or a NaN in one place: at least one invisible
// pair meets it.
inline void PoisonMaskedKeys(testing::OwnedProblem& owned) {
  AttentionProblem& p = owned.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  (void)Hq;
  const float inf = std::numeric_limits<float>::infinity(),
              nan = std::numeric_limits<float>::quiet_NaN();
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t j = 0; j < Skv; j += 3) {
      bool seen = false;
      for (int64_t i = 0; i < Sq; ++i) seen |= p.mask.Visible(b, i, j) && i % 5 != 0;
      if (seen && j % 2 == 0) continue;  // odd ones poison rows that do see them, too
      for (int64_t h = 0; h < Hkv; ++h) {
        StoreRounded(p.dtype, owned.Element(owned.k, p.k, b, j, h, j % D), j % 4 == 0 ? inf : nan);
        StoreRounded(p.dtype, owned.Element(owned.v, p.v, b, j, h, (j + 1) % D),
                     j % 4 == 0 ? -inf : nan);
      }
    }
  }
}

}  // namespace bitanchor::independent

#endif  // BITANCHOR_TESTS_INDEPENDENT_TEXTBOOK_H_
