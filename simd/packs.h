// Keys and values rewritten for the register tiles, one key block of one head at a time.
#ifndef BITANCHOR_SIMD_PACKS_H_
#define BITANCHOR_SIMD_PACKS_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lib/problem/attention_problem.h"

namespace bitanchor::simd {

// kF32: rows of f32. kPairs: two bf16 in a word, the later in its low half: neighbours along D in
// q and k, neighbouring keys in weights and v.
enum class PackFormat : uint8_t { kF32, kPairs };

// The least and largest magnitudes of a block of bf16, as their bits: what PairsAreExact asks.
struct MagnitudeRange {
  uint32_t least = 0xFFFF;  // of the nonzero ones
  uint32_t greatest = 0;

  void Merge(const MagnitudeRange& other) {
    least = std::min(least, other.least);
    greatest = std::max(greatest, other.greatest);
  }
  bool AllZero() const { return greatest == 0; }
  bool FiniteAndNormal() const { return greatest < 0x7F80 && (AllZero() || least >= 0x0080); }
};

// Whether sums of at most 2^log2_terms products of an element of `a` and one of `b` are exactly
// reproduced by an instruction that flushes subnormals: see bf16_dot-inl.h.
inline bool PairsAreExact(const MagnitudeRange& a, const MagnitudeRange& b, int log2_terms) {
  if (!a.FiniteAndNormal() || !b.FiniteAndNormal()) return false;
  if (a.AllZero() || b.AllZero()) return true;
  const auto exponent = [](uint32_t bits) { return static_cast<int>(bits >> 7) - 127; };
  return exponent(a.least) + exponent(b.least) - 14 >= -126 &&
         exponent(a.greatest) + exponent(b.greatest) + 2 + log2_terms <= 126;
}

constexpr int64_t kTileDims = 8;
// Words from one tile of v to the next.
constexpr int64_t VTileStride(int64_t rows) { return rows * kTileDims + 16; }

// How a packed key block lies in memory, in words of four bytes. k is rows, a little longer than
// they need be, so that equal columns of many rows do not fall into the same cache set. v is cut
// into tiles of eight dimensions, [tile][row][8], each read from one end to the other, and a little
// apart for the same reason; rows of v are keys, or pairs of neighbouring keys.
struct PackGeometry {
  PackFormat k_format, v_format;
  int64_t block_keys;  // a multiple of kGroupKeys
  int64_t dims;        // D rounded up to whole tiles; what lies past D is zero
  int64_t k_steps;     // words of a row of k (or q): D, or pairs of D
  int64_t k_stride;

  PackGeometry(const AttentionShape& shape, PackFormat k, PackFormat v, int64_t keys)
      : k_format(k),
        v_format(v),
        block_keys(keys),
        dims((shape.D + kTileDims - 1) / kTileDims * kTileDims) {
    k_steps = k == PackFormat::kF32 ? shape.D : (shape.D + 1) / 2;
    k_stride = (k_steps + 15) / 16 * 16 + 16;
  }
  int64_t KWords() const { return block_keys * k_stride; }
  int64_t VRows() const { return v_format == PackFormat::kF32 ? block_keys : block_keys / 2; }
  int64_t VWords() const { return VTileStride(VRows()) * dims / kTileDims; }
};

// One packed key block: k of KWords() and v of VWords(), floats or pairs as the geometry says.
struct PackedBlock {
  void* k = nullptr;
  void* v = nullptr;
  MagnitudeRange k_range, v_range;  // only of what is packed as pairs
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_PACKS_H_
