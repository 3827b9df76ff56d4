// Conversions of whole arrays between dtypes, on lanes: the bits of lib/number/format.h.
#ifndef BITANCHOR_SIMD_CONVERT_H_
#define BITANCHOR_SIMD_CONVERT_H_

#include <cstdint>
#include <span>

#include "simd/options.h"

namespace bitanchor::simd {

// out[i] = ToBF16(in[i]).bits: nearest-even, subnormals kept, overflow to infinity, every NaN 7fc0.
// Spans of one size, any size, without overlap.
void RoundToBF16(std::span<const float> in, std::span<uint16_t> out, const EngineOptions& options);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_CONVERT_H_
