// Elementary functions over arrays, on lanes: the bits of lib/number/elementary.h.
#ifndef BITANCHOR_SIMD_ELEMENTARY_H_
#define BITANCHOR_SIMD_ELEMENTARY_H_

#include <span>

#include "simd/options.h"

namespace bitanchor::simd {

// y[i] = number::Exp(x[i]), every f32 included. Spans of one size, any size; y may be x.
void Exp(std::span<const float> x, std::span<float> y, const EngineOptions& options);

// sin[i] = number::Sin(angle[i]), cos[i] = number::Cos(angle[i]), every f32 included. Spans of one
// size, any size; sin or cos may be angle, but not both.
void SinCos(std::span<const float> angle, std::span<float> sin, std::span<float> cos,
            const EngineOptions& options);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ELEMENTARY_H_
