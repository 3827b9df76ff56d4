// Attention forward for few queries against many keys: lanes are keys in q.k and dimensions in p.v.
//
// The register tiles are those of attention-inl.h with the parts exchanged: in a score tile the
// lanes hold 3 N keys, transposed, and the rows are queries; in an output tile the lanes hold 3 N
// dimensions of v, and the rows' words are weights. A product does not care which factor comes
// first, and every fold still runs over d, or over the keys that the query sees, in ascending
// order. The row sum is such a fold too, on queries in lanes. Only the maximum is taken across
// lanes, and it is the same in any order.
//
// A task is one key head with rows of the query heads that read it, row = head in group x Sq +
// query, in bundles of at most kTile rows. Keys are read once in each of two passes, 3 N at a time
// (a slice); slices that no query sees are not read. Where a row does not see all of a slice, its
// sums take the runs of keys that it sees.

#if defined(BITANCHOR_SIMD_DECODE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_DECODE_INL_H_
#undef BITANCHOR_SIMD_DECODE_INL_H_
#else
#define BITANCHOR_SIMD_DECODE_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <limits>
#include <span>
#include <vector>

#include "simd/attention_plan.h"
#include "simd/exp-inl.h"
#include "simd/packs-inl.h"
#include "simd/rows-inl.h"
#include "simd/scratch.h"
#include "simd/tiles-inl.h"
#include "simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// One unit. Buffers, with W = 3 N, slices of W keys, and bundles of kBundle rows: q [rows][D];
// t [slice][rows][W]; one slice's keys [D][W], values [columns][W keys][W dims] and weights
// [bundle][W keys][kTileDims]; o [columns][rows][W]; m, l [rows].
class DecodeHead {
 public:
  DecodeHead(const AttentionPlan& plan, const DecodeUnit& unit, DecodeScratch& scratch)
      : problem_(plan.problem),
        round_(plan.recipe.weights == WeightRounding::kBF16),
        b_(unit.b),
        key_head_(unit.key_head),
        group_(problem_.shape.Hq / problem_.shape.Hkv),
        Sq_(problem_.shape.Sq),
        D_(problem_.shape.D),
        first_row_(unit.first_row),
        rows_(unit.rows),
        padded_rows_((rows_ + kBundle - 1) / kBundle * kBundle),
        slices_((problem_.shape.Skv + W() - 1) / W()),
        columns_((D_ + W() - 1) / W()),
        visible_(scratch.visible) {
    q_ = scratch.q.Reserve(padded_rows_ * D_);
    t_ = scratch.scores.Reserve(slices_ * padded_rows_ * W());
    keys_ = scratch.keys.Reserve(D_ * W());
    // Rows on their way to the transposed keys, and whole columns of values.
    values_ = scratch.values.Reserve(W() * std::max(columns_ * W(), RowStride()));
    weights_ = scratch.weights.Reserve(padded_rows_ / kBundle * W() * kTileDims);
    o_ = scratch.sums.Reserve(columns_ * padded_rows_ * W());
    m_ = scratch.stats.Reserve(2 * padded_rows_ + kTileDims);
    l_ = m_ + padded_rows_;
    std::fill(q_, q_ + padded_rows_ * D_, 0.0f);
    for (int64_t row = 0; row < rows_; ++row) {
      LoadRow(problem_.q.dtype, problem_.q.Row(b_, Query(row), Head(row)), D_, q_ + row * D_);
    }
    std::fill(m_, m_ + padded_rows_, -std::numeric_limits<float>::infinity());
    std::fill(l_, l_ + padded_rows_ + kTileDims, 0.0f);
    std::fill(o_, o_ + columns_ * padded_rows_ * W(), 0.0f);
    FindVisible();
  }

  int64_t Slices() const { return slices_; }
  int64_t SliceKeys() const { return W(); }

  // Pass 1, a slice: its keys, some rows of memory at a time, then their scores.
  void TakeKeys(int64_t slice, int64_t first, int64_t last) {
    if (!SomeSee(slice)) return;
    const TensorView& k = problem_.k;
    const int64_t key = slice * W();
    for (int64_t n = first; n < last; ++n) PrefetchRow(k, b_, key_head_, key + n + W());
    if (TransposesPairs(slice)) {
      const std::byte* rows = k.Row(b_, key + first, key_head_);
      TransposeWords(reinterpret_cast<const uint32_t*>(rows), k.stride[1] / 2, last - first, D_ / 2,
                     reinterpret_cast<uint32_t*>(keys_) + first, W());
      return;
    }
    for (int64_t n = first; n < last; ++n) {
      LoadPaddedRow(k, b_, key_head_, key + n, D_, values_ + n * RowStride());
    }
  }
  void Scores(int64_t slice) {
    if (SomeSee(slice)) ComputeScores(slice);
  }

  // Pass 2, when every score is there. Values are cut into columns; what lies past D is zero. Keys
  // past the last one are not multiplied.
  void BeginOutput() { std::fill(values_, values_ + columns_ * W() * W(), 0.0f); }
  void TakeValues(int64_t slice, int64_t first, int64_t last) {
    if (!SomeSee(slice)) return;
    const TensorView& v = problem_.v;
    last = std::min(last, v.shape[1] - slice * W());
    for (int64_t n = first; n < last; ++n) {
      PrefetchRow(v, b_, key_head_, slice * W() + n + W());
      const std::byte* row = v.Row(b_, slice * W() + n, key_head_);
      if (v.dtype == DType::kBF16) {
        TakeValueRow<DType::kBF16>(row, n);
      } else if (v.dtype == DType::kF32) {
        TakeValueRow<DType::kF32>(row, n);
      } else {
        TakeValueRow<DType::kF16>(row, n);
      }
    }
  }
  void WeightsAndOutput(int64_t slice) {
    if (!SomeSee(slice)) return;
    ComputeWeights(slice);
    ComputeOutput(slice);
  }

  // As ForwardBlock::Store.
  void Store(const MutableTensorView& o, float* lse) {
    const F32Tag d;
    const int64_t N = hn::Lanes(d);
    HWY_ALIGN float out[kMaxHeadDim + kVectors * kMaxLanes];
    for (int64_t row = 0; row < rows_; ++row) {
      const float l = l_[row];
      for (int64_t i = 0; i < columns_ * W(); i += N) {
        const float* from = o_ + (i / W() * padded_rows_ + row) * W() + i % W();
        const F32 quotient = hn::Div(hn::Load(d, from), hn::Set(d, l));
        hn::Store(l == 0.0f ? hn::Zero(d) : quotient, d, out + i);
      }
      StoreRow(o.dtype, out, D_, o.Row(b_, Query(row), Head(row)));
      if (lse == nullptr) continue;
      const float value =
          l == 0.0f ? -std::numeric_limits<float>::infinity() : m_[row] + number::Log(l);
      lse[(b_ * problem_.shape.Hq + Head(row)) * Sq_ + Query(row)] = bitanchor::Canonical(value);
    }
  }

 private:
  static constexpr int64_t kBundle = kTile;
  static_assert(kTile <= static_cast<size_t>(kTileDims));

  static int64_t W() { return static_cast<int64_t>(kVectors * hn::Lanes(F32Tag())); }
  int64_t RowStride() const { return D_ + 4; }
  int64_t Head(int64_t row) const { return key_head_ * group_ + (first_row_ + row) / Sq_; }
  int64_t Query(int64_t row) const { return (first_row_ + row) % Sq_; }
  float* ScoresOf(int64_t slice, int64_t row) const {
    return t_ + (slice * padded_rows_ + row) * W();
  }
  uint64_t AllOf(int64_t slice) const {
    const int64_t keys = std::min(W(), problem_.shape.Skv - slice * W());
    return keys == 64 ? ~uint64_t{0} : (uint64_t{1} << keys) - 1;
  }
  // Bit n: the row's query sees key n of the slice.
  uint64_t Visible(int64_t slice, int64_t row) const { return visible_[slice * Sq_ + Query(row)]; }
  bool SomeSee(int64_t slice) const {
    const uint64_t* bits = &visible_[slice * Sq_];
    return std::any_of(bits, bits + Sq_, [](uint64_t x) { return x != 0; });
  }
  bool AllSeeAll(int64_t slice) const {
    const uint64_t* bits = &visible_[slice * Sq_];
    return std::all_of(bits, bits + Sq_, [all = AllOf(slice)](uint64_t x) { return x == all; });
  }

  void FindVisible() {
    visible_.assign(slices_ * Sq_, 0);
    for (int64_t slice = 0; slice < slices_; ++slice) {
      const int64_t first = slice * W(), last = std::min(first + W(), problem_.shape.Skv);
      for (int64_t i = 0; i < Sq_; ++i) {
        visible_[slice * Sq_ + i] = VisibleKeys(problem_.mask, b_, i, first, last - first);
      }
    }
  }

  template <DType kDType>
  HWY_INLINE void TakeValueRow(const std::byte* row, int64_t n) {
    const F32Tag d;
    const int64_t N = hn::Lanes(d), whole = D_ / N * N;
    float* column = values_ + n * W();
    for (int64_t i = 0, at = 0; i < whole; i += N, at += N) {
      if (at == W()) {
        at = 0;
        column += W() * W();
      }
      hn::Store(LoadVector(kDType, row, i), d, column + at);
    }
    for (int64_t i = whole; i < D_; ++i) {
      values_[(i / W() * W() + n) * W() + i % W()] = LoadF32(kDType, row + i * DTypeBytes(kDType));
    }
  }

  // The bundle's rows that are not padding, rounded up to a size there is a tile for.
  int64_t BundleRows(int64_t first) const {
    const int64_t rows = std::min(kBundle, rows_ - first);
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  }

  template <size_t kRows>
  HWY_INLINE void BundleScores(int64_t first, float* t) const {
    ScoreTileFromZero<F32Multiply, false>(std::make_index_sequence<kVectors * kRows>(), keys_,
                                          q_ + first * D_, D_, D_, problem_.softmax_scale, t,
                                          nullptr);
  }

  // Whether keys can be transposed where they lie, as words of two bf16.
  bool TransposesPairs(int64_t slice) const {
    const TensorView& k = problem_.k;
    return k.dtype == DType::kBF16 && D_ % 8 == 0 && k.stride[1] % 2 == 0 &&
           (slice + 1) * W() <= k.shape[1] && !BITANCHOR_ONE_LANE;
  }

  // What TakeKeys gathered, transposed to f32. Words become two rows of f32 each, from the last one
  // down, in place.
  void FinishKeys(int64_t slice) {
    if (!TransposesPairs(slice)) {
      TransposeWords(values_, RowStride(), W(), D_, keys_, W());
      return;
    }
    const F32Tag d;
    const U32Tag du;
    const uint32_t* words = reinterpret_cast<const uint32_t*>(keys_);
    for (int64_t n = D_ / 2 - 1; n >= 0; --n) {
      for (int64_t i = 0; i < W(); i += static_cast<int64_t>(hn::Lanes(d))) {
        const auto pair = hn::Load(du, words + n * W() + i);
        hn::Store(hn::BitCast(d, OddUp(pair)), d, keys_ + (2 * n + 1) * W() + i);
        hn::Store(hn::BitCast(d, EvenUp(pair)), d, keys_ + 2 * n * W() + i);
      }
    }
  }

  void ComputeScores(int64_t slice) {
    FinishKeys(slice);
    for (int64_t first = 0; first < rows_; first += kBundle) {
      float* t = ScoresOf(slice, first);
      switch (BundleRows(first)) {
        case 1:
          BundleScores<1>(first, t);
          break;
        case 2:
          BundleScores<2>(first, t);
          break;
        case 4:
          BundleScores<4>(first, t);
          break;
        default:
          BundleScores<kTile>(first, t);
      }
    }
    for (int64_t row = 0; row < rows_; ++row) TakeMaximum(slice, row);
  }

  // A NaN score is passed over; its weight is NaN all the same.
  void TakeMaximum(int64_t slice, int64_t row) {
    const F32Tag d;
    const int64_t N = hn::Lanes(d);
    const F32 lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
    const uint64_t bits = Visible(slice, row);
    F32 best = lowest;
    for (int64_t vector = 0; vector < static_cast<int64_t>(kVectors); ++vector) {
      const F32 t = hn::Load(d, ScoresOf(slice, row) + vector * N);
      best = GreaterOf(hn::IfThenElse(LanesMask(bits, vector), t, lowest), best);
    }
    HWY_ALIGN float lanes[kMaxLanes];
    hn::Store(best, d, lanes);
    for (int64_t n = 0; n < N; ++n) m_[row] = lanes[n] > m_[row] ? lanes[n] : m_[row];
  }

  // p in place of the scores, 0 where invisible; then per bundle l += p and the rounded weights.
  void ComputeWeights(int64_t slice) {
    const F32Tag d;
    const int64_t N = hn::Lanes(d);
    for (int64_t row = 0; row < rows_; ++row) {
      float* t = ScoresOf(slice, row);
      const F32 m = hn::Set(d, m_[row]);
      const uint64_t bits = Visible(slice, row);
      for (int64_t vector = 0; vector < static_cast<int64_t>(kVectors); ++vector) {
        float* at = t + vector * N;
        const F32 p = ExpNonPositive(hn::Sub(hn::Load(d, at), m));
        hn::Store(hn::IfThenElseZero(LanesMask(bits, vector), p), d, at);
      }
    }
    for (int64_t first = 0; first < rows_; first += kBundle) {
      const int64_t rows = std::min(kBundle, rows_ - first);
      float* w = weights_ + first / kBundle * W() * kTileDims;
      if (rows < kTileDims) std::fill(w, w + W() * kTileDims, 0.0f);
      TransposeWords(ScoresOf(slice, first), W(), rows, W(), w, kTileDims);
      AddToRowSums(w, l_ + first);
      if (!round_) continue;
      for (int64_t i = 0; i < W() * kTileDims; i += N) {
        hn::Store(RoundCanonicalToBF16(hn::Load(d, w + i)), d, w + i);
      }
    }
  }

  // l[kTileDims] advances over the keys of a slice; an invisible key's 0 changes nothing. What is
  // added past the bundle's rows is 0 as well.
  HWY_INLINE void AddToRowSums(const float* w, float* l) {
    const hn::CappedTag<float, kTileDims> d;
    for (int64_t i = 0; i < kTileDims; i += hn::Lanes(d)) {
      auto sum = hn::LoadU(d, l + i);
      for (int64_t n = 0; n < W(); ++n) sum = hn::Add(sum, hn::LoadU(d, w + n * kTileDims + i));
      hn::StoreU(sum, d, l + i);
    }
  }

  template <size_t kRows>
  HWY_INLINE void RowsOutput(const float* w, const float* v, int64_t keys, float* o) const {
    OutputTileFromMemory<F32Multiply, false>(std::make_index_sequence<kVectors * kRows>(), v, w,
                                             keys, nullptr, o);
  }

  void ComputeOutput(int64_t slice) {
    const bool whole = AllSeeAll(slice);
    const int64_t keys = std::min(W(), problem_.shape.Skv - slice * W());
    for (int64_t column = 0; column < columns_; ++column) {
      const float* v = values_ + column * W() * W();
      for (int64_t first = 0; first < rows_; first += kBundle) {
        float* o = o_ + (column * padded_rows_ + first) * W();
        const float* w = weights_ + first / kBundle * W() * kTileDims;
        if (whole) {
          BundleOutput(first, w, v, keys, o);
        } else {
          for (int64_t r = 0; r < std::min(kBundle, rows_ - first); ++r) {
            RowRuns(Visible(slice, first + r), w + r, v, o + r * W());
          }
        }
      }
    }
  }

  HWY_INLINE void BundleOutput(int64_t first, const float* w, const float* v, int64_t keys,
                               float* o) const {
    switch (BundleRows(first)) {
      case 1:
        return RowsOutput<1>(w, v, keys, o);
      case 2:
        return RowsOutput<2>(w, v, keys, o);
      case 4:
        return RowsOutput<4>(w, v, keys, o);
      default:
        return RowsOutput<kTile>(w, v, keys, o);
    }
  }

  // One row over the runs of keys that it sees.
  void RowRuns(uint64_t bits, const float* w, const float* v, float* o) const {
    while (bits != 0) {
      const int begin = std::countr_zero(bits);
      const int keys = std::countr_one(bits >> begin);
      RowsOutput<1>(w + begin * kTileDims, v + begin * W(), keys, o);
      if (begin + keys >= 64) return;
      bits &= ~uint64_t{0} << (begin + keys);
    }
  }

  const AttentionProblem& problem_;
  const bool round_;
  const int64_t b_, key_head_, group_, Sq_, D_, first_row_, rows_, padded_rows_, slices_, columns_;
  std::vector<uint64_t>& visible_;  // [slice][Sq]
  float *q_, *t_, *keys_, *values_, *weights_, *o_, *m_, *l_;
};

void AttentionDecodeTask(const AttentionPlan& plan, std::span<const DecodeUnit> units,
                         std::vector<DecodeScratch>& scratch, const MutableTensorView& o,
                         float* lse) {
  std::vector<DecodeHead> heads;
  heads.reserve(units.size());
  for (size_t n = 0; n < units.size(); ++n) heads.emplace_back(plan, units[n], scratch[n]);
  const int64_t slices = heads.front().Slices(), keys = heads.front().SliceKeys();
  // Memory is read a few keys at a time for all heads: rows of neighbouring heads follow each
  // other.
  constexpr int64_t kKeysAtATime = 16;
  for (int64_t slice = 0; slice < slices; ++slice) {
    for (int64_t n = 0; n < keys; n += kKeysAtATime) {
      for (DecodeHead& head : heads) head.TakeKeys(slice, n, std::min(n + kKeysAtATime, keys));
    }
    for (DecodeHead& head : heads) head.Scores(slice);
  }
  for (DecodeHead& head : heads) head.BeginOutput();
  for (int64_t slice = 0; slice < slices; ++slice) {
    for (int64_t n = 0; n < keys; n += 4) {
      for (DecodeHead& head : heads) head.TakeValues(slice, n, std::min(n + 4, keys));
    }
    for (DecodeHead& head : heads) head.WeightsAndOutput(slice);
  }
  for (DecodeHead& head : heads) head.Store(o, lse);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
