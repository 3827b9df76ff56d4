// Problems for tests: owned tensors of a chosen style of values, every draw from a seed that
// failing tests print.
#ifndef BITANCHOR_TESTS_SUPPORT_RANDOM_PROBLEM_H_
#define BITANCHOR_TESTS_SUPPORT_RANDOM_PROBLEM_H_

#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "lib/problem/attention_problem.h"

namespace bitanchor::testing {

enum class Values {
  kNormal,     // N(0, 1)
  kWide,       // signs and exponents from 2^-60 to 2^20
  kSubnormal,  // many subnormals, zeros of both signs, tiny products
  kInteger,    // small integers: ties and cancellations
  kPositive,   // |N(0, 1)|
};

inline float Draw(Values values, std::mt19937_64& random) {
  std::normal_distribution<float> normal;
  const float x = normal(random);
  const auto pick = random();
  switch (values) {
    case Values::kNormal:
      return x;
    case Values::kWide:
      return std::ldexp(x, static_cast<int>(pick % 81) - 60);
    case Values::kSubnormal:
      if (pick % 4 == 0) return pick % 8 == 0 ? 0.0f : -0.0f;
      return std::ldexp(x, pick % 3 == 0 ? -130 : -static_cast<int>(pick % 70));
    case Values::kInteger:
      return std::round(x * 2);
    case Values::kPositive:
      return std::fabs(x);
  }
  return x;
}

struct OwnedProblem {
  std::vector<std::byte> q, k, v;
  AttentionProblem problem;

  std::byte* Element(std::vector<std::byte>& tensor, const TensorView& view, int64_t b, int64_t s,
                     int64_t h, int64_t d) {
    return tensor.data() + (view.Row(b, s, h) - view.data) +
           d * static_cast<int64_t>(DTypeBytes(view.dtype));
  }
};

inline void Fill(std::vector<std::byte>& bytes, TensorView& view, DType dtype, const Shape4& shape,
                 Values values, std::mt19937_64& random) {
  bytes.resize(DTypeBytes(dtype) * static_cast<size_t>(shape[0] * shape[1] * shape[2] * shape[3]));
  const size_t size = DTypeBytes(dtype);
  for (size_t n = 0; n < bytes.size(); n += size)
    StoreRounded(dtype, &bytes[n], Draw(values, random));
  view = DenseView<const std::byte>(dtype, bytes.data(), shape);
}

// Ids of documents of `length` tokens; rule anchor makes token 0 the anchor.
inline void SetIds(Mask& mask, int64_t length) {
  mask.k_ids.clear();
  for (int64_t b = 0; b < mask.B; ++b) {
    for (int64_t j = 0; j < mask.Skv; ++j) {
      mask.k_ids.push_back(mask.spec.rule == MaskRule::kAnchor && j == 0 ? 0
                                                                         : 1 + (j + b) / length);
    }
  }
  mask.q_ids.clear();
  for (int64_t b = 0; b < mask.B; ++b) {
    for (int64_t i = 0; i < mask.Sq; ++i) {
      const int64_t at = std::min(std::max<int64_t>(i + mask.Offset(), 0), mask.Skv - 1);
      mask.q_ids.push_back(mask.k_ids[b * mask.Skv + at]);
    }
  }
}

inline OwnedProblem MakeProblem(const AttentionShape& shape, DType dtype, const MaskSpec& mask,
                                Values values, uint64_t seed) {
  OwnedProblem owned;
  std::mt19937_64 random(seed);
  AttentionProblem& p = owned.problem;
  p.shape = shape;
  p.dtype = dtype;
  Fill(owned.q, p.q, dtype, {shape.B, shape.Sq, shape.Hq, shape.D}, values, random);
  Fill(owned.k, p.k, dtype, {shape.B, shape.Skv, shape.Hkv, shape.D}, values, random);
  Fill(owned.v, p.v, dtype, {shape.B, shape.Skv, shape.Hkv, shape.D}, values, random);
  p.softmax_scale = DefaultSoftmaxScale(shape.D);
  p.mask.spec = mask;
  p.mask.B = shape.B;
  p.mask.Sq = shape.Sq;
  p.mask.Skv = shape.Skv;
  if (mask.rule != MaskRule::kFull) SetIds(p.mask, std::max<int64_t>(1, shape.Skv / 4));
  return owned;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_SUPPORT_RANDOM_PROBLEM_H_
