// Attention forward, one query per lane.
//
// A task is one block of Q = 3 N queries of one head (N lanes of f32, three vectors). It walks the
// keys that some of its queries see, in ascending order, three times:
//   1. scores   t[row][Q] = RN(scale * fold_d fma(q_d, k_d)), and each lane's maximum
//   2. weights  p = exp(t - m) in place, l += p, then rounded as the recipe says
//   3. output   o[d][Q] = fold over rows of fma(w, v_d)
// In each, a lane does exactly what the scalar loop does for its query; lanes never meet. Register
// tiles are 3 vectors x kTile keys (scores) or x kTile dimensions (output), so a tile only decides
// which independent folds advance together. Rows that not every lane sees are applied by selection:
// an invisible key leaves the accumulator as it was, whatever Inf or NaN it holds.

#if defined(BITANCHOR_SIMD_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ATTENTION_INL_H_
#undef BITANCHOR_SIMD_ATTENTION_INL_H_
#else
#define BITANCHOR_SIMD_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"
#include "simd/rows-inl.h"
#include "simd/scratch.h"

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
constexpr size_t kRowsAtATime = 64;  // keys converted to f32 and kept in cache together

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

// Lanes [vector * N, vector * N + N) of a row's visibility bits.
HWY_INLINE F32Mask LanesMask(uint64_t bits, size_t vector) {
  const F32Tag d;
  bits >>= vector * hn::Lanes(d);
  const uint8_t bytes[8] = {static_cast<uint8_t>(bits), static_cast<uint8_t>(bits >> 8)};
  return hn::LoadMaskBits(d, bytes);
}

// t[key][Q] = scale * q.k for kTile keys; q is [D][Q], k is [keys][D]. Accumulator J is key J/3,
// vector J%3: a parameter pack, because vectors of unknown size cannot be array elements.
template <size_t... J, class... V>
HWY_INLINE void ScoreTile(std::index_sequence<J...>, const float* HWY_RESTRICT q,
                          const float* HWY_RESTRICT k, size_t D, float scale, float* HWY_RESTRICT t,
                          V... acc) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  for (size_t i = 0; i < D; ++i) {
    const F32 q0 = hn::Load(d, q), q1 = hn::Load(d, q + N), q2 = hn::Load(d, q + 2 * N);
    ((acc = Fma(Pick<J>(q0, q1, q2), hn::Set(d, k[(J / kVectors) * D + i]), acc)), ...);
    q += kVectors * N;
  }
  const F32 s = hn::Set(d, scale);
  ((hn::Store(hn::Mul(acc, s), d, t + J * N)), ...);
}

template <size_t... J>
HWY_INLINE void Scores(std::index_sequence<J...> sequence, const float* q, const float* k, size_t D,
                       float scale, float* t) {
  ScoreTile(sequence, q, k, D, scale, t, (static_cast<void>(J), hn::Zero(F32Tag()))...);
}

// o[d][Q] for kTile dimensions d advances over `rows` rows; w is [rows][Q], v is [rows][ldv],
// already offset to the first dimension.
template <bool kMasked, size_t... J, class... V>
HWY_INLINE void OutputTile(std::index_sequence<J...>, const float* HWY_RESTRICT w,
                           const float* HWY_RESTRICT v, size_t ldv,
                           const uint64_t* HWY_RESTRICT lanes, size_t rows, float* HWY_RESTRICT o,
                           V... acc) {
  const F32Tag d;
  const size_t N = hn::Lanes(d);
  for (size_t r = 0; r < rows; ++r) {
    const F32 w0 = hn::Load(d, w), w1 = hn::Load(d, w + N), w2 = hn::Load(d, w + 2 * N);
    if constexpr (kMasked) {
      const F32Mask m0 = LanesMask(lanes[r], 0), m1 = LanesMask(lanes[r], 1),
                    m2 = LanesMask(lanes[r], 2);
      ((acc = hn::IfThenElse(Pick<J>(m0, m1, m2),
                             Fma(Pick<J>(w0, w1, w2), hn::Set(d, v[J / kVectors]), acc), acc)),
       ...);
    } else {
      ((acc = Fma(Pick<J>(w0, w1, w2), hn::Set(d, v[J / kVectors]), acc)), ...);
    }
    w += kVectors * N;
    v += ldv;
  }
  ((hn::Store(acc, d, o + J * N)), ...);
}

template <bool kMasked, size_t... J>
HWY_INLINE void Outputs(std::index_sequence<J...> sequence, const float* w, const float* v,
                        size_t ldv, const uint64_t* lanes, size_t rows, float* o) {
  const F32Tag d;
  OutputTile<kMasked>(sequence, w, v, ldv, lanes, rows, o, hn::Load(d, o + J * hn::Lanes(d))...);
}

using TileSequence = std::make_index_sequence<kVectors * kTile>;

// One block of queries of one head. Buffers: q [D][Q], t [rows][Q], block [64][D8], o [D8][Q],
// where D8 is D rounded up to a multiple of 8; m, l, nan [Q].
class ForwardBlock {
 public:
  ForwardBlock(const AttentionProblem& problem, const AttentionRecipe& recipe,
               AttentionScratch& scratch)
      : problem_(problem),
        recipe_(recipe),
        rows_(scratch.rows),
        D_(problem.shape.D),
        D8_((D_ + 7) / 8 * 8) {
    const size_t q = kVectors * hn::Lanes(F32Tag());
    q_ = scratch.q.Reserve(D_ * q);
    t_ = scratch.scores.Reserve((rows_.Size() + kRowsAtATime) * q);
    block_ = scratch.block.Reserve(kRowsAtATime * D8_);
    o_ = scratch.sums.Reserve(D8_ * q);
    m_ = scratch.stats.Reserve(2 * q);
    l_ = m_ + q;
  }

  void Run(int64_t b, int64_t h, int64_t q0, int64_t nq, const MutableTensorView& o, float* lse) {
    const int64_t key_head = problem_.shape.KeyHead(h);
    LoadQueries(b, h, q0, nq);
    ComputeScores(b, key_head);
    ComputeMaximum();
    ComputeWeights();
    ComputeOutput(b, key_head);
    Store(b, h, q0, nq, o, lse);
  }

 private:
  size_t Q() const { return kVectors * hn::Lanes(F32Tag()); }
  size_t Rows() const { return static_cast<size_t>(rows_.Size()); }

  // Transposes; lanes past the last query hold zeros and are never stored.
  void LoadQueries(int64_t b, int64_t h, int64_t q0, int64_t nq) {
    const size_t Q = this->Q();
    for (size_t lane = 0; lane < Q; ++lane) {
      if (static_cast<int64_t>(lane) < nq) {
        LoadRow(problem_.q.dtype, problem_.q.Row(b, q0 + lane, h), D_, block_);
      } else {
        std::fill(block_, block_ + D_, 0.0f);
      }
      for (size_t d = 0; d < D_; ++d) q_[d * Q + lane] = block_[d];
    }
  }

  // Rows [begin, begin + count) of k or v to f32, `stride` apart.
  void LoadKeys(const TensorView& tensor, int64_t b, int64_t key_head, size_t begin, size_t count,
                size_t stride) {
    for (size_t r = 0; r < count; ++r) {
      LoadRow(tensor.dtype, tensor.Row(b, rows_.key[begin + r], key_head), D_, block_ + r * stride);
    }
  }

  void ComputeScores(int64_t b, int64_t key_head) {
    for (size_t begin = 0; begin < Rows(); begin += kRowsAtATime) {
      const size_t count = std::min(kRowsAtATime, Rows() - begin);
      LoadKeys(problem_.k, b, key_head, begin, count, D_);
      // A ragged last tile computes rows nobody reads; they must only be there.
      const size_t padded = (count + kTile - 1) / kTile * kTile;
      std::fill(block_ + count * D_, block_ + padded * D_, 0.0f);
      for (size_t r = 0; r < padded; r += kTile) {
        Scores(TileSequence(), q_, block_ + r * D_, D_, problem_.softmax_scale,
               t_ + (begin + r) * Q());
      }
    }
  }

  // The larger of best and row r's scores in the lanes that see it.
  HWY_INLINE F32 GreaterScore(size_t r, size_t vector, F32 best) const {
    const F32Tag d;
    F32 t = hn::Load(d, t_ + r * Q() + vector * hn::Lanes(d));
    if (rows_.lanes[r] != kAllLanes) {
      const F32 lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
      t = hn::IfThenElse(LanesMask(rows_.lanes[r], vector), t, lowest);
    }
    return GreaterOf(t, best);
  }

  // m: the largest visible score of each lane. A NaN score is passed over here; its weight is NaN
  // all the same, and so are then l, the LSE and every o_d, which is what a NaN maximum would have
  // made them.
  void ComputeMaximum() {
    const F32Tag d;
    const size_t N = hn::Lanes(d);
    F32 m0 = hn::Set(d, -std::numeric_limits<float>::infinity()), m1 = m0, m2 = m0;
    for (size_t r = 0; r < Rows(); ++r) {  // three chains at a time hide the latency
      m0 = GreaterScore(r, 0, m0);
      m1 = GreaterScore(r, 1, m1);
      m2 = GreaterScore(r, 2, m2);
    }
    hn::Store(m0, d, m_);
    hn::Store(m1, d, m_ + N);
    hn::Store(m2, d, m_ + 2 * N);
  }

  void ComputeWeights() {
    const F32Tag d;
    const size_t N = hn::Lanes(d), Q = this->Q();
    const bool round = recipe_.weights == WeightRounding::kBF16;
    for (size_t vector = 0; vector < kVectors; ++vector) {
      const F32 m = hn::Load(d, m_ + vector * N);
      F32 l = hn::Zero(d);
      for (size_t r = 0; r < Rows(); ++r) {
        float* at = t_ + r * Q + vector * N;
        const F32 p = Exp(hn::Sub(hn::Load(d, at), m));
        if (rows_.lanes[r] == kAllLanes) {
          l = hn::Add(l, p);
        } else {
          l = hn::IfThenElse(LanesMask(rows_.lanes[r], vector), hn::Add(l, p), l);
        }
        hn::Store(round ? RoundToBF16(p) : p, d, at);
      }
      hn::Store(l, d, l_ + vector * N);
    }
  }

  void ComputeOutput(int64_t b, int64_t key_head) {
    const size_t Q = this->Q();
    std::fill(o_, o_ + D8_ * Q, 0.0f);
    for (size_t r = 0; r < kRowsAtATime; ++r) {
      std::fill(block_ + r * D8_ + D_, block_ + (r + 1) * D8_, 0.0f);
    }
    for (size_t begin = 0; begin < Rows(); begin += kRowsAtATime) {
      const size_t count = std::min(kRowsAtATime, Rows() - begin);
      LoadKeys(problem_.v, b, key_head, begin, count, D8_);
      const uint64_t* lanes = &rows_.lanes[begin];
      const bool masked =
          std::any_of(lanes, lanes + count, [](uint64_t x) { return x != kAllLanes; });
      const float* w = t_ + begin * Q;
      for (size_t i = 0; i < D8_; i += kTile) {
        if (masked) {
          Outputs<true>(TileSequence(), w, block_ + i, D8_, lanes, count, o_ + i * Q);
        } else {
          Outputs<false>(TileSequence(), w, block_ + i, D8_, lanes, count, o_ + i * Q);
        }
      }
    }
  }

  // o / l, rounded once to the output's dtype. l is 0 only where no key is visible: then o = +0.
  void Store(int64_t b, int64_t h, int64_t q0, int64_t nq, const MutableTensorView& o, float* lse) {
    const F32Tag d;
    const size_t N = hn::Lanes(d), Q = this->Q();
    for (size_t vector = 0; vector < kVectors; ++vector) {
      const F32 l = hn::Load(d, l_ + vector * N);
      const F32Mask none = hn::Eq(l, hn::Zero(d));  // not Ne: on NaN it differs by ISA
      for (size_t i = 0; i < D_; ++i) {
        float* at = o_ + i * Q + vector * N;
        hn::Store(hn::IfThenZeroElse(none, hn::Div(hn::Load(d, at), l)), d, at);
      }
    }
    const size_t size_bytes = DTypeBytes(o.dtype);
    for (int64_t lane = 0; lane < nq; ++lane) {
      std::byte* row = o.Row(b, q0 + lane, h);
      for (size_t i = 0; i < D_; ++i) StoreRounded(o.dtype, row + i * size_bytes, o_[i * Q + lane]);
      if (lse == nullptr) continue;
      const float value = l_[lane] == 0.0f ? -std::numeric_limits<float>::infinity()
                                           : m_[lane] + number::Log(l_[lane]);
      lse[(b * problem_.shape.Hq + h) * problem_.shape.Sq + q0 + lane] =
          bitanchor::Canonical(value);
    }
  }

  const AttentionProblem& problem_;
  const AttentionRecipe& recipe_;
  const KeyRows& rows_;
  size_t D_, D8_;
  float *q_, *t_, *block_, *o_, *m_, *l_;
};

int64_t AttentionQueryBlock() { return kVectors * hn::Lanes(F32Tag()); }

void AttentionForwardBlock(const AttentionProblem& problem, const AttentionRecipe& recipe,
                           int64_t b, int64_t h, int64_t q0, int64_t nq, AttentionScratch& scratch,
                           const MutableTensorView& o, float* lse) {
  ForwardBlock(problem, recipe, scratch).Run(b, h, q0, nq, o, lse);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
