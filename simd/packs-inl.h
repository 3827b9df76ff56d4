// Packing a key block: conversion to f32, or pairs of bf16 in the order the dot product wants.

#if defined(BITANCHOR_SIMD_PACKS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_PACKS_INL_H_
#undef BITANCHOR_SIMD_PACKS_INL_H_
#else
#define BITANCHOR_SIMD_PACKS_INL_H_
#endif

#include "hwy/cache_control.h"
#include "lib/problem/attention_problem.h"
#include "simd/bf16_dot-inl.h"
#include "simd/lanes-inl.h"
#include "simd/packs.h"
#include "simd/rows-inl.h"
#include "simd/tiles-inl.h"
#include "simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// Rows of a head may lie far apart, where no hardware looks ahead.
HWY_INLINE void PrefetchRow(const TensorView& tensor, int64_t b, int64_t head, int64_t key) {
  constexpr int64_t kLine_bytes = 64;
  if (key >= tensor.shape[1]) return;
  const std::byte* row = tensor.Row(b, key, head);
  const int64_t row_bytes = tensor.shape[3] * static_cast<int64_t>(DTypeBytes(tensor.dtype));
  for (int64_t at = 0; at < row_bytes; at += kLine_bytes) hwy::Prefetch(row + at);
}

constexpr int64_t kRowsAhead = 24;

// Row `key` of k or v as f32 with zeros up to `dims`; all zeros past the last key. A later row is
// asked for.
HWY_INLINE void LoadPaddedRow(const TensorView& tensor, int64_t b, int64_t head, int64_t key,
                              int64_t dims, float* out) {
  const int64_t D = tensor.shape[3];
  if (key >= tensor.shape[1]) {
    std::fill(out, out + dims, 0.0f);
    return;
  }
  PrefetchRow(tensor, b, head, key + kRowsAhead);
  LoadRow(tensor.dtype, tensor.Row(b, key, head), D, out);
  std::fill(out + D, out + dims, 0.0f);
}

// Rows of k, `stride` apart.
HWY_INLINE void PackKF32(const TensorView& k, int64_t b, int64_t head, int64_t key, int64_t keys,
                         int64_t stride, float* out) {
  for (int64_t n = 0; n < keys; ++n) {
    LoadPaddedRow(k, b, head, key + n, k.shape[3], out + n * stride);
  }
}

// Words [0, dims) of row `row` of v to their places in the tiles of `rows` rows.
template <typename Word>
HWY_INLINE void StoreInTiles(const Word* from, int64_t dims, int64_t row, int64_t rows, Word* out) {
  for (int64_t i = 0; i < dims; i += kTileDims) {
    Word* tile = out + i / kTileDims * VTileStride(rows);
    std::memcpy(tile + row * kTileDims, from + i, kTileDims * sizeof(Word));
  }
}

// One vector of dimensions [i, i + N) to its places in the tiles.
HWY_INLINE void StoreVectorInTiles(F32 v, int64_t i, int64_t row, int64_t rows, float* out) {
  const F32Tag d;
  float* to = out + i / kTileDims * VTileStride(rows) + row * kTileDims + i % kTileDims;
  if constexpr (HWY_MAX_BYTES >= 64 && kMaxLanes == 2 * kTileDims) {
    if (hn::Lanes(d) == kMaxLanes) {
      hn::StoreU(LowerLanes(v), F32Half(), to);
      hn::StoreU(UpperLanes(v), F32Half(), to + VTileStride(rows));
      return;
    }
  }
  hn::StoreU(v, d, to);
}

HWY_INLINE void PackVF32(const TensorView& v, int64_t b, int64_t head, int64_t key, int64_t keys,
                         int64_t dims, float* out) {
  const F32Tag d;
  const int64_t N = hn::Lanes(d), D = v.shape[3];
  const bool whole = D % std::max(N, kTileDims) == 0;
  HWY_ALIGN float row[kMaxHeadDim];
  for (int64_t n = 0; n < keys; ++n) {
    if (!whole || key + n >= v.shape[1]) {
      LoadPaddedRow(v, b, head, key + n, dims, row);
      StoreInTiles(row, dims, n, keys, out);
      continue;
    }
    PrefetchRow(v, b, head, key + n + kRowsAhead);
    const std::byte* from = v.Row(b, key + n, head);
    for (int64_t i = 0; i < D; i += N) {
      StoreVectorInTiles(LoadVector(v.dtype, from, i), i, n, keys, out);
    }
  }
}

// out[D][Q]: tokens [s0, s0 + n) of a head, one a lane; lanes past n hold zeros. `rows` is scratch
// of Q rows of D rounded up to whole tiles, and four.
HWY_INLINE void LoadLanes(const TensorView& tensor, int64_t b, int64_t h, int64_t s0, int64_t n,
                          float* rows, float* out) {
  const int64_t Q = TileLanes(), D = tensor.shape[3];
  const int64_t stride = (D + kTileDims - 1) / kTileDims * kTileDims + 4;
  for (int64_t lane = 0; lane < Q; ++lane) {
    float* row = rows + lane * stride;
    if (lane < n) {
      LoadRow(tensor.dtype, tensor.Row(b, s0 + lane, h), D, row);
    } else {
      std::fill(row, row + D, 0.0f);
    }
  }
  TransposeWords(rows, stride, Q, D, out, Q);
}

#if BITANCHOR_HAVE_BF16_DOT

using U16Tag = hn::Repartition<uint16_t, U32Tag>;
using U16HalfTag = hn::Rebind<uint16_t, U32Tag>;

// The range of many bf16, two in each 32-bit lane.
class RangeOfPairs {
 public:
  HWY_INLINE RangeOfPairs() : least_(hn::Set(U16Tag(), 0xFFFF)), greatest_(hn::Zero(U16Tag())) {}
  HWY_INLINE void Take(hn::Vec<U32Tag> pairs) {
    const U16Tag d;
    const auto magnitude = hn::And(hn::BitCast(d, pairs), hn::Set(d, 0x7FFF));
    least_ = hn::Min(least_, hn::Sub(magnitude, hn::Set(d, 1)));  // zero becomes the largest
    greatest_ = hn::Max(greatest_, magnitude);
  }
  HWY_INLINE MagnitudeRange Get() const {
    const U16Tag d;
    HWY_ALIGN uint16_t least[2 * kMaxLanes], greatest[2 * kMaxLanes];
    hn::Store(least_, d, least);
    hn::Store(greatest_, d, greatest);
    MagnitudeRange range;
    for (size_t i = 0; i < hn::Lanes(d); ++i) {
      if (least[i] != 0xFFFF) range.least = std::min<uint32_t>(range.least, least[i] + 1u);
      range.greatest = std::max<uint32_t>(range.greatest, greatest[i]);
    }
    return range;
  }

 private:
  hn::Vec<U16Tag> least_, greatest_;
};

// The row's first `count` elements and then zeros, as one vector of pairs.
HWY_INLINE hn::Vec<U32Tag> LoadPairs(const std::byte* row, size_t count) {
  const U32Tag d;
  HWY_ALIGN uint32_t words[kMaxLanes] = {};
  std::memcpy(words, row, sizeof(uint16_t) * std::min(count, 2 * hn::Lanes(d)));
  return hn::Load(d, words);
}

// Pairs along D of one row, ceil(D/2) words and zeros up to a whole vector. Takes their range.
HWY_INLINE void PackRowPairs(const std::byte* row, size_t D, uint32_t* out, RangeOfPairs& range) {
  const U32Tag d;
  const size_t N = hn::Lanes(d);
  for (size_t i = 0; i < D; i += 2 * N) {
    const auto pairs = LoadPairs(row + sizeof(uint16_t) * i, D - i);
    range.Take(pairs);
    hn::StoreU(hn::RotateRight<16>(pairs), d, out + i / 2);
  }
}

HWY_INLINE MagnitudeRange PackKPairs(const TensorView& k, int64_t b, int64_t head, int64_t key,
                                     const PackGeometry& geometry, uint32_t* out) {
  RangeOfPairs range;
  const int64_t Skv = k.shape[1], D = k.shape[3];
  for (int64_t n = 0; n < geometry.block_keys; ++n, out += geometry.k_stride) {
    if (key + n < Skv) {
      PrefetchRow(k, b, head, key + n + kRowsAhead);
      PackRowPairs(k.Row(b, key + n, head), D, out, range);
    } else {
      std::fill(out, out + geometry.k_steps, 0u);
    }
  }
  return range.Get();
}

// Pairs of neighbouring keys: row n holds v_(2n) above v_(2n+1).
HWY_INLINE MagnitudeRange PackVPairs(const TensorView& v, int64_t b, int64_t head, int64_t key,
                                     const PackGeometry& geometry, uint32_t* out) {
  const U32Tag d;
  const U16HalfTag dh;
  const size_t N = hn::Lanes(d);
  const int64_t Skv = v.shape[1], D = v.shape[3];
  HWY_ALIGN uint16_t rows[2][kMaxHeadDim + kMaxLanes] = {};
  HWY_ALIGN uint32_t words[kMaxHeadDim + kMaxLanes];
  RangeOfPairs range;
  for (int64_t n = 0; n < geometry.VRows(); ++n) {
    for (int64_t half = 0; half < 2; ++half) {
      if (key + 2 * n + half < Skv) {
        PrefetchRow(v, b, head, key + 2 * n + half + kRowsAhead);
        std::memcpy(rows[half], v.Row(b, key + 2 * n + half, head), sizeof(uint16_t) * D);
      } else {
        std::fill(rows[half], rows[half] + D, uint16_t{0});
      }
    }
    for (int64_t i = 0; i < geometry.dims; i += static_cast<int64_t>(N)) {
      const auto pairs = hn::Or(hn::ShiftLeft<16>(hn::PromoteTo(d, hn::Load(dh, rows[0] + i))),
                                hn::PromoteTo(d, hn::Load(dh, rows[1] + i)));
      range.Take(pairs);
      hn::Store(pairs, d, words + i);
    }
    StoreInTiles(words, geometry.dims, n, geometry.VRows(), out);
  }
  return range.Get();
}

#endif  // BITANCHOR_HAVE_BF16_DOT

// Packs key block `block` of key head `head` into out.k and out.v, which have the geometry's size;
// one that is null is left out.
HWY_NOINLINE inline void PackKeyBlock(const AttentionProblem& problem, const PackGeometry& geometry,
                                      int64_t b, int64_t head, int64_t block, PackedBlock& out) {
  const int64_t key = block * geometry.block_keys;
  if (out.k != nullptr && geometry.k_format == PackFormat::kF32) {
    PackKF32(problem.k, b, head, key, geometry.block_keys, geometry.k_stride,
             static_cast<float*>(out.k));
  }
  if (out.v != nullptr && geometry.v_format == PackFormat::kF32) {
    PackVF32(problem.v, b, head, key, geometry.block_keys, geometry.dims,
             static_cast<float*>(out.v));
  }
#if BITANCHOR_HAVE_BF16_DOT
  if (out.k != nullptr && geometry.k_format == PackFormat::kPairs) {
    out.k_range = PackKPairs(problem.k, b, head, key, geometry, static_cast<uint32_t*>(out.k));
  }
  if (out.v != nullptr && geometry.v_format == PackFormat::kPairs) {
    out.v_range = PackVPairs(problem.v, b, head, key, geometry, static_cast<uint32_t*>(out.v));
  }
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
