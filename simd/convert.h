// Conversions of whole arrays between floating dtypes, on lanes: the bits of lib/number/format.h.
// Arrays need no alignment and may have any size; in and out do not overlap.
#ifndef BITANCHOR_SIMD_CONVERT_H_
#define BITANCHOR_SIMD_CONVERT_H_

#include <cstdint>
#include <span>

#include "simd/options.h"

namespace bitanchor::simd {

// out[i] = ToBF16(in[i]).bits and ToF16(in[i]).bits: nearest-even, subnormals kept, overflow to
// infinity, every NaN the canonical one (7fc0, 7e00). Spans of one size.
void RoundToBF16(std::span<const float> in, std::span<uint16_t> out, const EngineOptions& options);
void RoundToF16(std::span<const float> in, std::span<uint16_t> out, const EngineOptions& options);

// out[i] = ToF32(BF16{in[i]}) and ToF32(F16{in[i]}): exact, NaN payloads kept. Spans of one size.
void BF16ToF32(std::span<const uint16_t> in, std::span<float> out, const EngineOptions& options);
void F16ToF32(std::span<const uint16_t> in, std::span<float> out, const EngineOptions& options);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_CONVERT_H_
