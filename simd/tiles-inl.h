// What the register tiles of attention share, and the tiles themselves for f32.

#if defined(BITANCHOR_SIMD_TILES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_TILES_INL_H_
#undef BITANCHOR_SIMD_TILES_INL_H_
#else
#define BITANCHOR_SIMD_TILES_INL_H_
#endif

#include <utility>

#include "simd/key_groups.h"
#include "simd/lanes-inl.h"
#include "simd/packs.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

constexpr size_t kVectors = 3;  // of queries
// Keys or dimensions of a register tile: 3 x 8 accumulators need 32 registers, 3 x 4 fit 16.
#if HWY_ARCH_X86 && HWY_TARGET > HWY_AVX3
constexpr size_t kTile = 4;
#else
constexpr size_t kTile = 8;
#endif
// Lanes of a register tile: the queries of a block, the keys of a slice, the dimensions of a
// column.
HWY_INLINE int64_t TileLanes() { return static_cast<int64_t>(kVectors * hn::Lanes(F32Tag())); }

using TileSequence = std::make_index_sequence<kVectors * kTile>;

// The I-th (mod 3) of three.
template <size_t I, class V>
HWY_INLINE V Pick(V v0, V v1, V v2) {
  if constexpr (I % kVectors == 0) {
    return v0;
  } else if constexpr (I % kVectors == 1) {
    return v1;
  } else {
    return v2;
  }
}

template <size_t I>
HWY_INLINE void TakeGreater(F32 t, F32& m0, F32& m1, F32& m2) {
  if constexpr (I % kVectors == 0) {
    m0 = GreaterOf(t, m0);
  } else if constexpr (I % kVectors == 1) {
    m1 = GreaterOf(t, m1);
  } else {
    m2 = GreaterOf(t, m2);
  }
}

// Lanes [vector * N, vector * N + N) of a row's visibility bits.
HWY_INLINE F32Mask LanesMask(uint64_t bits, size_t vector) {
  const F32Tag d;
  bits >>= vector * hn::Lanes(d);
  const uint8_t bytes[8] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
  return hn::LoadMaskBits(d, bytes);
}

// Runs of groups of a chunk that neighbour each other and that all lanes see, or that not all do:
// calls run(first, last, masked).
template <typename Run>
HWY_INLINE void ForRuns(const KeyGroups& groups, const KeyChunk& chunk, const Run& run) {
  const auto masked = [&](int64_t group) { return groups.groups[group].lanes != kEveryone; };
  for (int64_t first = chunk.begin, last; first < chunk.end; first = last) {
    last = first + 1;
    while (last < chunk.end &&
           groups.groups[last].key == groups.groups[last - 1].key + kGroupKeys &&
           masked(last) == masked(first)) {
      ++last;
    }
    run(first, last, masked(first));
  }
}

struct F32Multiply {
  using Word = float;
  static HWY_INLINE F32 Load(const float* p) { return hn::Load(F32Tag(), p); }
  static HWY_INLINE F32 Set(float x) { return hn::Set(F32Tag(), x); }
  static HWY_INLINE F32 MulAdd(F32 a, F32 b, F32 acc) { return Fma(a, b, acc); }
};

#include "simd/tile_loops-inl.h"

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
