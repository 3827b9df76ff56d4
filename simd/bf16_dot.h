// The dispatch level above AVX-512 whose products of bf16 pairs come from VDPBF16PS.
#ifndef BITANCHOR_SIMD_BF16_DOT_H_
#define BITANCHOR_SIMD_BF16_DOT_H_

#include <cstdint>
#include <limits>

namespace bitanchor::simd {

// For EngineOptions::target, beside Highway's bits: its best AVX-512 target with the instruction.
constexpr int64_t kBF16DotLevel = std::numeric_limits<int64_t>::min();

// Whether this CPU has the instruction and it did two ascending fma on each of some 200,000 cases,
// tried once a process: random ones with exponents far apart, ties, cancellations, zeros of both
// signs. Everything else that must hold is PairsAreExact's (packs.h).
bool BF16DotExact();

// Its rate over that of the f32 FMA, in products, timed once a process (under a millisecond). About
// 2 on AMD's Zen 4 and 5, about 1/2 on Intel's Xeons, where the plain FMA is the faster way to the
// same bits.
double BF16DotSpeed();

// Whether a run on `target` multiplies pairs: where asked for by name, and by default where exact
// and faster.
bool UsesBF16Dot(int64_t target);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_BF16_DOT_H_
