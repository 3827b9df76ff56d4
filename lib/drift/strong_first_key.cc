#include "lib/drift/strong_first_key.h"

#include <algorithm>

namespace bitanchor::drift {

std::string_view Name(Draw draw) { return draw == Draw::kNormal ? "normal" : "strong-first-key"; }

BF16 DrawElement(Draw draw, uint64_t seed, Gen1Tensor t, const Shape4& shape, int64_t b, int64_t s,
                 int64_t h, int64_t d) {
  const auto [B, S, H, D] = shape;
  const BF16 normal = Gen1Element(seed, t, static_cast<uint64_t>(((b * S + s) * H + h) * D + d));
  const bool of_scores = t == Gen1Tensor::kQ || t == Gen1Tensor::kK;
  if (draw == Draw::kNormal || !of_scores) return normal;
  const double x = ToF32(normal);
  const bool sink = d >= D - std::max<int64_t>(1, D / 16);
  if (t == Gen1Tensor::kQ) return ToBF16(sink ? x + 8 : x);
  if (s > 0) return ToBF16(sink ? x - 1.5 : x);
  return ToBF16(sink ? 0.5 : x / 8);
}

}  // namespace bitanchor::drift
