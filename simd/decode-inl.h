// Attention forward for few queries against many keys: lanes are keys in q.k and dimensions in p.v.
//
// The register tiles are those of attention-inl.h with the parts exchanged: in a score tile the
// lanes hold 3 N keys, transposed, and the rows are queries; in an output tile the lanes hold 3 N
// dimensions of v, and the rows' words are weights. A product does not care which factor comes
// first, and every fold still runs over d, or over the keys that the query sees, in ascending
// order. The row sum is such a fold too, on queries in lanes. Only the maximum is taken across
// lanes, and it is the same in any order.
//
// A unit is one key head with rows of the query heads that read it, row = head in group x Sq +
// query, in bundles of at most kTile rows. Keys are read once in each of two passes, 3 N at a time
// (a slice); slices that no query sees are not read. Where a row does not see all of a slice, its
// sums take the runs of keys that it sees.
//
// A task takes several units through the slices together. Memory is what this waits for, so all
// the while the next slice is asked for (RowsAhead), some lines between any two small pieces of
// arithmetic, in the order in which they lie in memory: rows of neighbouring heads follow each
// other.

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
#include "simd/rows_ahead.h"
#include "simd/scratch.h"
#include "simd/tiles-inl.h"
#include "simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// One unit. Buffers, with W = 3 N, slices of W keys, and bundles of kBundle rows: q
// [bundle][D][kTileDims]; t [slice][rows][W]; o [columns][rows][W]; m, l [rows]. What a slice needs
// while it is worked on is shared by the task's units: keys [kKeyDims][W], rows [W][RowStride]
// (keys on their way to be transposed), values [W keys][W dims], weights [bundle][W
// keys][kTileDims].
class DecodeHead {
 public:
  // scores: of ScoresSize(plan, unit) floats, aligned.
  DecodeHead(const AttentionPlan& plan, const DecodeUnit& unit, float* scores,
             DecodeScratch& scratch, DecodeSliceScratch& slice)
      : problem_(plan.problem),
        round_(plan.recipe.weights == WeightRounding::kBF16),
        b_(unit.b),
        key_head_(unit.key_head),
        group_(problem_.shape.Hq / problem_.shape.Hkv),
        Sq_(problem_.shape.Sq),
        D_(problem_.shape.D),
        first_row_(unit.first_row),
        rows_(unit.rows),
        padded_rows_(PaddedRows(rows_)),
        slices_((problem_.shape.Skv + W() - 1) / W()),
        columns_((D_ + W() - 1) / W()),
        visible_(scratch.visible) {
    q_ = scratch.q.Reserve(Bundles() * D_ * kTileDims);
    t_ = scores;
    keys_ = slice.keys.Reserve(kKeyDims * W());
    key_rows_ = slice.rows.Reserve(W() * RowStride());
    values_ = slice.values.Reserve(W() * W());
    weights_ = slice.weights.Reserve(Bundles() * W() * kTileDims);
    o_ = scratch.sums.Reserve(columns_ * padded_rows_ * W());
    m_ = scratch.stats.Reserve(2 * padded_rows_ + kTileDims);
    l_ = m_ + padded_rows_;
    LoadQueries();
    std::fill(values_, values_ + W() * W(), 0.0f);
    std::fill(m_, m_ + padded_rows_, -std::numeric_limits<float>::infinity());
    std::fill(l_, l_ + padded_rows_ + kTileDims, 0.0f);
    std::fill(o_, o_ + columns_ * padded_rows_ * W(), 0.0f);
    FindVisible();
  }

  // Some more than there are, so that equal places of several units do not compete for one cache
  // set.
  static int64_t ScoresSize(const AttentionPlan& plan, const DecodeUnit& unit) {
    const int64_t slices = (plan.problem.shape.Skv + W() - 1) / W();
    return (slices * PaddedRows(unit.rows) + 1) * W();
  }

  int64_t Slices() const { return slices_; }
  static int64_t SliceKeys() { return W(); }

  // How often a slice calls RowsAhead::Next in each pass.
  int64_t KeySteps() const { return (D_ + kKeyDims - 1) / kKeyDims * kVectors; }
  int64_t ValueSteps() const { return columns_ * ((W() + kValueKeys - 1) / kValueKeys); }

  // Pass 1, a slice: its keys, transposed some dimensions at a time, and their scores.
  void TakeKeys(int64_t slice, RowsAhead& ahead, int64_t lines) {
    if (!SomeSee(slice)) return;
    float* t = ScoresOf(slice, 0);
    std::fill(t, t + padded_rows_ * W(), 0.0f);
    for (int64_t i = 0; i < D_; i += kKeyDims) {
      const int64_t dims = std::min(kKeyDims, D_ - i);
      TransposeKeys(slice, i, dims, ahead, lines);
      for (int64_t first = 0; first < rows_; first += kBundle) {
        BundleFold(first, Query8(first) + i * kTileDims, keys_, dims, t + first * W());
      }
    }
    for (int64_t row = 0; row < rows_; ++row) ScaleAndTakeMaximum(slice, row);
  }

  // Pass 2, when every score is there: weights, then a column of W dimensions after the other.
  void TakeValues(int64_t slice, RowsAhead& ahead, int64_t lines) {
    if (!SomeSee(slice)) return;
    ComputeWeights(slice);
    const bool whole = AllSeeAll(slice);
    // Keys past the last one are not multiplied.
    const int64_t keys = std::min(W(), problem_.shape.Skv - slice * W());
    for (int64_t column = 0; column < columns_; ++column) {
      LoadValues(slice, column, keys, ahead, lines);
      for (int64_t first = 0; first < rows_; first += kBundle) {
        float* o = o_ + (column * padded_rows_ + first) * W();
        const float* w = weights_ + first / kBundle * W() * kTileDims;
        if (whole) {
          BundleFold(first, w, values_, keys, o);
          continue;
        }
        for (int64_t r = 0; r < std::min(kBundle, rows_ - first); ++r) {
          RowRuns(Visible(slice, first + r), w + r, o + r * W());
        }
      }
    }
  }

  // As ForwardBlock::Store.
  void Store(const ForwardOutputs& to) {
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
      StoreRow(to.o.dtype, out, D_, to.o.Row(b_, Query(row), Head(row)));
      const int64_t at = (b_ * problem_.shape.Hq + Head(row)) * Sq_ + Query(row);
      StoreRowStatistics(m_[row], l, at, to);
    }
  }

 private:
  static constexpr int64_t kBundle = kTile;
  static constexpr int64_t kKeyDims = 32;   // transposed at a time
  static constexpr int64_t kValueKeys = 4;  // between two looks ahead
  static_assert(kTile <= static_cast<size_t>(kTileDims));

  // Whole bundles, or of a single one what its tile takes.
  static int64_t PaddedRows(int64_t rows) {
    if (rows >= kBundle) return (rows + kBundle - 1) / kBundle * kBundle;
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  }
  int64_t Bundles() const { return (rows_ + kBundle - 1) / kBundle; }
  static int64_t W() { return TileLanes(); }
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

  const float* Query8(int64_t first) const { return q_ + first / kBundle * D_ * kTileDims; }

  // Lanes past a bundle's rows hold zeros.
  void LoadQueries() {
    std::fill(q_, q_ + Bundles() * D_ * kTileDims, 0.0f);
    HWY_ALIGN float q[kMaxHeadDim + kMaxLanes];
    for (int64_t row = 0; row < rows_; ++row) {
      LoadRow(problem_.q.dtype, problem_.q.Row(b_, Query(row), Head(row)), D_, q);
      float* lane = q_ + row / kBundle * D_ * kTileDims + row % kBundle;
      for (int64_t i = 0; i < D_; ++i) lane[i * kTileDims] = q[i];
    }
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

  // Dimensions [i, i + dims) of the slice's keys.
  void TransposeKeys(int64_t slice, int64_t i, int64_t dims, RowsAhead& ahead, int64_t lines) {
    const TensorView& k = problem_.k;
    const int64_t key = slice * W();
#if HWY_TARGET != HWY_SCALAR
    const bool whole = key + W() <= k.shape[1] && D_ % 8 == 0;
    if (whole && k.dtype == DType::kBF16 && k.stride[1] % 2 == 0) {
      // As words of two bf16.
      const BlockTag<float> df;
      const auto* rows = reinterpret_cast<const uint32_t*>(k.Row(b_, key, key_head_)) + i / 2;
      const int64_t stride = k.stride[1] / 2, N = hn::Lanes(F32Tag());
      for (int64_t n = 0; n < W(); n += N) {
        ahead.Next(lines);
        for (int64_t c = 0; c < dims / 2; c += 4) {
          for (int64_t r = n; r < n + N; r += kBlockRows) {
            float* to = keys_ + 2 * c * W() + r;
            TransposeBlock(rows + r * stride + c, stride, [&](size_t at, auto pairs) HWY_ATTR {
              float* even = to + 2 * at * W();
              hn::StoreU(hn::BitCast(df, EvenUp(pairs)), df, even);
              hn::StoreU(hn::BitCast(df, OddUp(pairs)), df, even + W());
            });
          }
        }
      }
      return;
    }
#endif
    for (int64_t n = 0; i == 0 && n < W(); ++n) {
      LoadPaddedRow(k, b_, key_head_, key + n, D_, key_rows_ + n * RowStride());
    }
    ahead.Next(lines * kVectors);
    TransposeWords(key_rows_ + i, RowStride(), W(), dims, keys_, W());
  }

  // A column of the slice's values. What lies past D is not used.
  void LoadValues(int64_t slice, int64_t column, int64_t keys, RowsAhead& ahead, int64_t lines) {
    const TensorView& v = problem_.v;
    const F32Tag d;
    const int64_t N = hn::Lanes(d), begin = column * W(), dims = std::min(W(), D_ - begin);
    const int64_t size_bytes = static_cast<int64_t>(DTypeBytes(v.dtype));
    for (int64_t n = 0; n < keys; ++n) {
      if (n % kValueKeys == 0) ahead.Next(lines);
      const std::byte* row = v.Row(b_, slice * W() + n, key_head_) + begin * size_bytes;
      float* to = values_ + n * W();
      int64_t i = 0;
      for (; i + N <= dims; i += N) hn::Store(LoadVector(v.dtype, row, i), d, to + i);
      for (; i < dims; ++i) to[i] = LoadF32(v.dtype, row + i * size_bytes);
    }
  }

  // The bundle's rows that are not padding, rounded up to a size there is a tile for.
  int64_t BundleRows(int64_t first) const {
    const int64_t rows = std::min(kBundle, rows_ - first);
    return static_cast<int64_t>(std::bit_ceil(static_cast<uint64_t>(rows)));
  }

  // sums[row][W] advances over `count` products of words[n][row] and lanes[n][W].
  template <size_t kRows>
  static HWY_INLINE void RowsFold(const float* words, const float* lanes, int64_t count,
                                  float* sums) {
    OutputTileFromMemory<F32Multiply, false>(std::make_index_sequence<kVectors * kRows>(), lanes,
                                             words, count, nullptr, sums);
  }

  HWY_INLINE void BundleFold(int64_t first, const float* words, const float* lanes, int64_t count,
                             float* sums) const {
    switch (BundleRows(first)) {
      case 1:
        return RowsFold<1>(words, lanes, count, sums);
      case 2:
        return RowsFold<2>(words, lanes, count, sums);
      case 4:
        return RowsFold<4>(words, lanes, count, sums);
      default:
        return RowsFold<kTile>(words, lanes, count, sums);
    }
  }

  // A NaN score is passed over; its weight is NaN all the same.
  void ScaleAndTakeMaximum(int64_t slice, int64_t row) {
    const F32Tag d;
    const int64_t N = hn::Lanes(d);
    const F32 lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
    const F32 scale = hn::Set(d, problem_.softmax_scale);
    const uint64_t bits = Visible(slice, row);
    F32 best = lowest;
    for (int64_t vector = 0; vector < static_cast<int64_t>(kVectors); ++vector) {
      float* at = ScoresOf(slice, row) + vector * N;
      const F32 t = hn::Mul(hn::Load(d, at), scale);
      hn::Store(t, d, at);
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

  // One row over the runs of keys that it sees.
  void RowRuns(uint64_t bits, const float* w, float* o) const {
    ForRunsOfBits(bits, [&](int begin, int keys) HWY_ATTR {
      RowsFold<1>(w + begin * kTileDims, values_ + begin * W(), keys, o);
    });
  }

  const AttentionProblem& problem_;
  const bool round_;
  const int64_t b_, key_head_, group_, Sq_, D_, first_row_, rows_, padded_rows_, slices_, columns_;
  std::vector<uint64_t>& visible_;  // [slice][Sq]
  float *q_, *t_, *keys_, *key_rows_, *values_, *weights_, *o_, *m_, *l_;
};

// The units are the same rows of neighbouring key heads of one batch.
void AttentionDecodeTask(const AttentionPlan& plan, std::span<const DecodeUnit> units,
                         DecodeTaskScratch& scratch, const ForwardOutputs& out) {
  const AttentionProblem& problem = plan.problem;
  const auto count = static_cast<int64_t>(units.size());
  scratch.units.resize(std::max(scratch.units.size(), units.size()));
  const int64_t size = DecodeHead::ScoresSize(plan, units[0]);  // all units have equally many rows
  float* scores = scratch.scores.Reserve(count * size);
  std::vector<DecodeHead> heads;
  heads.reserve(units.size());
  for (int64_t n = 0; n < count; ++n) {
    heads.emplace_back(plan, units[n], scores + n * size, scratch.units[n], scratch.slice);
  }
  const int64_t slices = heads.front().Slices(), keys = DecodeHead::SliceKeys();
  for (const bool keys_pass : {true, false}) {
    RowsAhead ahead(keys_pass ? problem.k : problem.v, units[0].b, units[0].key_head, count);
    const int64_t steps = keys_pass ? heads.front().KeySteps() : heads.front().ValueSteps();
    const int64_t lines = ahead.LinesAtATime(keys, steps);
    for (int64_t slice = 0; slice < slices; ++slice) {
      ahead.Begin((slice + 1) * keys, (slice + 2) * keys);
      for (DecodeHead& head : heads) {
        if (keys_pass) {
          head.TakeKeys(slice, ahead, lines);
        } else {
          head.TakeValues(slice, ahead, lines);
        }
      }
    }
  }
  for (DecodeHead& head : heads) head.Store(out);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
