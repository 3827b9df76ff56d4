#include "lib/drift/strong_first_key.h"

#include <algorithm>

namespace bitanchor::drift {

std::string_view Name(Draw draw) {
  if (draw == Draw::kNormal) return "normal";
  return draw == Draw::kStrongFirstKey ? "strong-first-key" : "sink-and-outliers";
}

BF16 DrawElement(Draw draw, uint64_t seed, Gen1Tensor t, const Shape4& shape, int64_t b, int64_t s,
                 int64_t h, int64_t d) {
  const auto [B, S, H, D] = shape;
  const BF16 normal = Gen1Element(seed, t, static_cast<uint64_t>(((b * S + s) * H + h) * D + d));
  const bool of_scores = t == Gen1Tensor::kQ || t == Gen1Tensor::kK;
  if (draw == Draw::kNormal || !of_scores) return normal;
  const double x = ToF32(normal);
  const int64_t sinks = std::max<int64_t>(1, D / 16), n = d - (D - sinks);
  const bool sink = n >= 0;
  if (t == Gen1Tensor::kQ) return ToBF16(sink ? x + 8 : x);
  const bool outlier = draw == Draw::kSinkAndOutliers && sink && n < sinks / 2 * 2;
  if (s > 0) return ToBF16(sink ? x - 1.5 + (outlier ? (n % 2 == 0 ? 12 : -12) : 0) : x);
  return ToBF16(sink ? 0.5 : x / 8);
}

}  // namespace bitanchor::drift
