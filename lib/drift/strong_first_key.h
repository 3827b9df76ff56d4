// Queries and keys as trained models have them: the first key, an attention sink, is short and lies
// along the queries' mean, all others lie against it.
#ifndef BITANCHOR_LIB_DRIFT_STRONG_FIRST_KEY_H_
#define BITANCHOR_LIB_DRIFT_STRONG_FIRST_KEY_H_

#include <cstdint>
#include <string_view>

#include "lib/problem/generate.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::drift {

enum class Draw { kNormal, kStrongFirstKey, kSinkAndOutliers };
// "normal", "strong-first-key", "sink-and-outliers"
std::string_view Name(Draw draw);

// Element (b, s, h, d) of tensor t of shape [B, S, H, D]: normal is gen-1 (lib/problem/generate.h);
// strong-first-key differs from it in q and k. With x the element of gen-1 and m = max(1, D/16)
// sink dimensions, the last ones, which RoPE turns slowest in either pairing:
//   q      x + 8 in sink dimensions
//   k, s>0 x - 3/2 in sink dimensions
//   k, s=0 1/2 in sink dimensions, x/8 in others
// each rounded once to bf16. With D = 128 the first key's logit stands about 11 above the mean of
// the others' (in units of softmax), sum_d |q_d||k_0d| at about a third of theirs.
//
// sink-and-outliers is strong-first-key with outlier channels: of the keys s>0, the n-th sink
// dimension is x - 3/2 + 12 where n is even, x - 3/2 - 12 where it is odd, x - 3/2 where n is the
// last one of an odd m. Against q's equal shifts the outliers cancel: they move roundings, which go
// by |q||k|, and leave logits of near keys where they were. Trained models' keys have such
// channels, and their sinks do not (arXiv 2402.02750, arXiv 2505.10938).
BF16 DrawElement(Draw draw, uint64_t seed, Gen1Tensor t, const Shape4& shape, int64_t b, int64_t s,
                 int64_t h, int64_t d);

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_STRONG_FIRST_KEY_H_
