// Attention forward, one query per lane.
//
// A block of queries is Q = 3 N of them, of one head (N lanes of f32, three vectors). A task takes
// a few such blocks that read the same key head, and walks the key blocks that some of its queries
// see, in ascending order, twice, packing each for all of them:
//   1. scores   t[row][Q] = RN(scale * fold_d fma(q_d, k_d)), and each lane's maximum
//   2. weights  p = exp(t - m) in place, l += p, then rounded as the recipe says; and, while they
//      are in the first cache, o[d][Q] = fold over rows of fma(w, v_d)
// In each, a lane does exactly what the scalar loop does for its query; lanes never meet. A
// register tile (tile_loops-inl.h) only decides which independent folds advance together. Rows are
// taken by aligned groups of eight; of a group that not every lane sees, a lane's invisible rows
// are applied by selection, whatever Inf or NaN they hold.
//
// Where pairs of bf16 are multiplied by one instruction, each key block is first asked whether that
// is exact (PairsAreExact); where not, it takes the f32 tiles. Once sums have gone that way they
// stay there, because they may hold what the instruction would flush.

#if defined(BITANCHOR_SIMD_ATTENTION_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ATTENTION_INL_H_
#undef BITANCHOR_SIMD_ATTENTION_INL_H_
#else
#define BITANCHOR_SIMD_ATTENTION_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "simd/attention_plan.h"
#include "simd/exp-inl.h"
#include "simd/lanes-inl.h"
#include "simd/packs-inl.h"
#include "simd/rows-inl.h"
#include "simd/rows_ahead.h"
#include "simd/scratch.h"
#include "simd/tiles-inl.h"
#include "simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// One block of queries of one head. Buffers: q as words [steps][Q], t [rows][Q], o [dims][Q],
// m, l [Q]; rows [Q][row_stride] holds queries on their way in and outputs on their way out.
class ForwardBlock {
 public:
  // scores: of ScoresSize(scratch.groups) floats, aligned.
  ForwardBlock(const AttentionPlan& plan, int64_t b, const QueryBlock& block, float* scores,
               QueryBlockScratch& scratch, AlignedBuffer<float>& plain)
      : plan_(plan),
        problem_(plan.problem),
        geometry_(plan.geometry),
        plain_(plain),
        groups_(scratch.groups),
        chunks_(groups_),
        D_(problem_.shape.D),
        dims_(geometry_.dims),
        b_(b),
        h_(block.h),
        key_head_(problem_.shape.KeyHead(block.h)),
        q0_(block.q0),
        nq_(block.nq) {
    const size_t Q = ForwardBlock::Q();
    q_ = scratch.q.Reserve(2 * dims_ * Q);  // f32 in the first half, pairs in the second
    q_pairs_ = reinterpret_cast<uint32_t*>(q_ + dims_ * Q);
    t_ = scores;
    rows_ = scratch.rows.Reserve(Q * RowStride());
    o_ = scratch.sums.Reserve(dims_ * Q);
    m_ = scratch.stats.Reserve(2 * Q);
    l_ = m_ + Q;
    LoadQueries();
    std::fill(m_, m_ + Q, -std::numeric_limits<float>::infinity());
    std::fill(l_, l_ + Q, 0.0f);
    std::fill(o_, o_ + dims_ * Q, 0.0f);
  }

  static int64_t ScoresSize(const KeyGroups& groups) { return (groups.Rows() + 1) * Q(); }

  // Goes through the key blocks once in each pass.
  ChunkCursor& Chunks() { return chunks_; }

  // How often a key block that every query sees calls RowsAhead::Next in each pass.
  static int64_t ScoreSteps(const PackGeometry& geometry) {
    return geometry.block_keys / kGroupKeys;
  }
  static int64_t OutputSteps(const PackGeometry& geometry) { return geometry.dims / kTileDims; }

  // Pass 1. `lines` are asked for at every step.
  void ComputeScores(const KeyChunk& chunk, const PackedBlock& packed, RowsAhead& ahead,
                     int64_t lines) {
    const int log2_terms = std::bit_width(static_cast<uint32_t>(D_));
    const bool pairs = PairsInScores() && PairsAreExact(q_range_, packed.k_range, log2_terms);
    const float* k = static_cast<const float*>(packed.k);
    int64_t stride = geometry_.k_stride;
    if (PairsInScores() && !pairs) {
      if (!q_loaded_) LoadQueriesF32();
      stride = dims_ + 16;
      float* plain = plain_.Reserve(geometry_.block_keys * stride);
      PackKF32(problem_.k, b_, key_head_, chunk.key_block * geometry_.block_keys,
               geometry_.block_keys, stride, plain);
      k = plain;
    }
    ForRuns(groups_, chunk, [&](int64_t first, int64_t last, bool masked) HWY_ATTR {
      for (int64_t group = first; group < last; ++group) {
        ahead.Next(lines);
        float* t = ScoresOf(group);
        const int64_t at = RowOf(group) * stride;
        if (pairs) {
#if BITANCHOR_HAVE_BF16_DOT
          bf16_dot::PairScores(q_pairs_, static_cast<const uint32_t*>(packed.k) + at, stride,
                               kGroupKeys, geometry_.k_steps, problem_.softmax_scale, t,
                               masked ? nullptr : m_);
#endif
        } else if (masked) {
          Scores<F32Multiply, false>(q_, k + at, stride, kGroupKeys, D_, problem_.softmax_scale, t,
                                     nullptr);
        } else {
          Scores<F32Multiply, true>(q_, k + at, stride, kGroupKeys, D_, problem_.softmax_scale, t,
                                    m_);
        }
      }
      if (masked) {
        for (int64_t group = first; group < last; ++group) TakeMaskedMaximum(group);
      }
    });
  }

  // Pass 2, when every score is there.
  void ComputeWeightsAndOutput(const KeyChunk& chunk, const PackedBlock& packed, RowsAhead& ahead,
                               int64_t lines) {
    MagnitudeRange weights;
    ComputeWeights(chunk, weights);
    ComputeOutput(chunk, weights, packed, ahead, lines);
  }

  // o / l, rounded once to the output's dtype. l is 0 only where no key is visible: then o = +0.
  void Store(const ForwardOutputs& out) {
    const F32Tag d;
    const size_t N = hn::Lanes(d), Q = ForwardBlock::Q();
    for (size_t vector = 0; vector < kVectors; ++vector) {
      const F32 l = hn::Load(d, l_ + vector * N);
      const F32Mask none = hn::Eq(l, hn::Zero(d));  // not Ne: on NaN it differs by ISA
      for (int64_t i = 0; i < D_; ++i) {
        float* at = o_ + i * Q + vector * N;
        hn::Store(hn::IfThenZeroElse(none, hn::Div(hn::Load(d, at), l)), d, at);
      }
    }
    TransposeWords(o_, Q, dims_, Q, rows_, RowStride());
    for (int64_t lane = 0; lane < nq_; ++lane) {
      StoreRow(out.o.dtype, rows_ + lane * RowStride(), D_, out.o.Row(b_, q0_ + lane, h_));
    }
    const int64_t at = (b_ * problem_.shape.Hq + h_) * problem_.shape.Sq + q0_;
    for (int64_t lane = 0; lane < nq_; ++lane) {
      StoreRowStatistics(m_[lane], l_[lane], at + lane, out);
    }
  }

 private:
  static size_t Q() { return TileLanes(); }
  size_t RowStride() const { return dims_ + 4; }
  bool PairsInScores() const { return geometry_.k_format == PackFormat::kPairs; }
  bool PairsInOutput() const { return geometry_.v_format == PackFormat::kPairs; }
  float* ScoresOf(int64_t group) const { return t_ + group * kGroupKeys * Q(); }
  const KeyGroup& Group(int64_t group) const { return groups_.groups[group]; }
  // Row of the key block at which a group begins.
  int64_t RowOf(int64_t group) const { return Group(group).key % geometry_.block_keys; }

  // Lanes past the last query hold zeros and are never stored.
  void LoadQueries() {
#if BITANCHOR_HAVE_BF16_DOT
    if (PairsInScores()) {
      q_loaded_ = false;
      RangeOfPairs range;
      uint32_t* words = reinterpret_cast<uint32_t*>(rows_);
      const size_t stride = RowStride();
      for (size_t lane = 0; lane < Q(); ++lane) {
        uint32_t* row = words + lane * stride;
        if (static_cast<int64_t>(lane) < nq_) {
          HWY_ALIGN uint32_t packed[kMaxHeadDim / 2 + kMaxLanes];
          PackRowPairs(problem_.q.Row(b_, q0_ + lane, h_), D_, packed, range);
          std::copy(packed, packed + geometry_.k_steps, row);
        } else {
          std::fill(row, row + geometry_.k_steps, 0u);
        }
      }
      q_range_ = range.Get();
      TransposeWords(words, stride, Q(), geometry_.k_steps, q_pairs_, Q());
      return;
    }
#endif
    LoadQueriesF32();
  }

  void LoadQueriesF32() {
    q_loaded_ = true;
    LoadLanes(problem_.q, b_, h_, q0_, nq_, rows_, q_);
  }

  // m: the largest visible score of each lane. A NaN score is passed over; its weight is NaN all
  // the same, and so are then l, the LSE and every o_d, which is what a NaN maximum would have made
  // them.
  void TakeMaskedMaximum(int64_t group) {
    const F32Tag d;
    const size_t N = hn::Lanes(d);
    const F32 lowest = hn::Set(d, -std::numeric_limits<float>::infinity());
    const uint64_t* lanes = &groups_.lanes[Group(group).lanes];
    const float* t = ScoresOf(group);
    for (int64_t n = 0; n < kGroupKeys; ++n) {
      for (size_t vector = 0; vector < kVectors; ++vector, t += N) {
        const F32 visible = hn::IfThenElse(LanesMask(lanes[n], vector), hn::Load(d, t), lowest);
        float* at = m_ + vector * N;
        hn::Store(GreaterOf(visible, hn::Load(d, at)), d, at);
      }
    }
  }

  // The weight of a score, and the row sum that takes it. Invisible: zero, which no sum notices;
  // such a score may lie above the maximum, and its exponential is then anything.
  template <bool kMasked>
  HWY_INLINE F32 Weight(const float* t, F32 m, uint64_t lanes, size_t vector, F32& l) const {
    const F32Tag d;
    F32 p = ExpNonPositive(hn::Sub(hn::Load(d, t), m));
    if constexpr (kMasked) p = hn::IfThenElseZero(LanesMask(lanes, vector), p);
    l = hn::Add(l, p);
    return p;
  }

  // In f32, in place.
  template <bool kMasked, bool kRound>
  HWY_INLINE void PlainWeights(float* t, const uint64_t* lanes, int64_t rows) {
    const F32Tag df;
    const size_t N = hn::Lanes(df);
    // Vectors of unknown size can be no members of a struct, so three of each.
    const F32 m0 = hn::Load(df, m_), m1 = hn::Load(df, m_ + N), m2 = hn::Load(df, m_ + 2 * N);
    F32 l0 = hn::Load(df, l_), l1 = hn::Load(df, l_ + N), l2 = hn::Load(df, l_ + 2 * N);
    for (int64_t r = 0; r < rows; ++r, t += Q()) {
      const uint64_t seen = kMasked ? lanes[r] : 0;
      const F32 p0 = Weight<kMasked>(t, m0, seen, 0, l0);
      const F32 p1 = Weight<kMasked>(t + N, m1, seen, 1, l1);
      const F32 p2 = Weight<kMasked>(t + 2 * N, m2, seen, 2, l2);
      hn::Store(kRound ? RoundCanonicalToBF16(p0) : p0, df, t);
      hn::Store(kRound ? RoundCanonicalToBF16(p1) : p1, df, t + N);
      hn::Store(kRound ? RoundCanonicalToBF16(p2) : p2, df, t + 2 * N);
    }
    hn::Store(l0, df, l_);
    hn::Store(l1, df, l_ + N);
    hn::Store(l2, df, l_ + 2 * N);
  }

#if BITANCHOR_HAVE_BF16_DOT
  // The weights of two neighbouring rows.
  template <bool kMasked>
  HWY_INLINE hn::Vec<U32Tag> WeightPair(const float* t, F32 m, const uint64_t* lanes, size_t vector,
                                        F32& l) const {
    const U32Tag d;
    const F32 first = Weight<kMasked>(t, m, kMasked ? lanes[0] : 0, vector, l);
    const F32 second = Weight<kMasked>(t + Q(), m, kMasked ? lanes[1] : 0, vector, l);
    return hn::Or(hn::BitCast(d, RoundCanonicalToBF16(first)),
                  hn::ShiftRight<16>(hn::BitCast(d, RoundCanonicalToBF16(second))));
  }

  // As pairs of bf16, row n holding those of rows 2n and 2n+1: writes never overtake reads.
  template <bool kMasked>
  HWY_INLINE MagnitudeRange PairWeights(const float* t, const uint64_t* lanes, int64_t rows,
                                        uint32_t* pairs) {
    const F32Tag df;
    const U32Tag d;
    const size_t N = hn::Lanes(d);
    // Vectors of unknown size can be no members of a struct, so three of each.
    const F32 m0 = hn::Load(df, m_), m1 = hn::Load(df, m_ + N), m2 = hn::Load(df, m_ + 2 * N);
    F32 l0 = hn::Load(df, l_), l1 = hn::Load(df, l_ + N), l2 = hn::Load(df, l_ + 2 * N);
    RangeOfPairs range;
    for (int64_t r = 0; r < rows; r += 2, t += 2 * Q(), pairs += Q()) {
      const uint64_t* seen = kMasked ? lanes + r : nullptr;
      const auto w0 = WeightPair<kMasked>(t, m0, seen, 0, l0);
      const auto w1 = WeightPair<kMasked>(t + N, m1, seen, 1, l1);
      const auto w2 = WeightPair<kMasked>(t + 2 * N, m2, seen, 2, l2);
      range.Take(w0);
      range.Take(w1);
      range.Take(w2);
      hn::Store(w0, d, pairs);
      hn::Store(w1, d, pairs + N);
      hn::Store(w2, d, pairs + 2 * N);
    }
    hn::Store(l0, df, l_);
    hn::Store(l1, df, l_ + N);
    hn::Store(l2, df, l_ + 2 * N);
    return range.Get();
  }
#endif

  template <bool kMasked>
  HWY_INLINE void WeightsOfRun(int64_t first, int64_t last, MagnitudeRange& range) {
    const uint64_t* lanes = kMasked ? &groups_.lanes[Group(first).lanes] : nullptr;
    const int64_t rows = (last - first) * kGroupKeys;
#if BITANCHOR_HAVE_BF16_DOT
    if (PairsInOutput()) {
      range.Merge(PairWeights<kMasked>(ScoresOf(first), lanes, rows, PairsOf(first)));
      return;
    }
#endif
    (void)range;
    if (plan_.recipe.weights == WeightRounding::kBF16) {
      PlainWeights<kMasked, true>(ScoresOf(first), lanes, rows);
    } else {
      PlainWeights<kMasked, false>(ScoresOf(first), lanes, rows);
    }
  }

  // Masks of neighbouring masked groups stand one after the other in KeyGroups::lanes.
  HWY_NOINLINE void ComputeWeights(const KeyChunk& chunk, MagnitudeRange& range) {
    ForRuns(groups_, chunk, [&](int64_t first, int64_t last, bool masked) HWY_ATTR {
      if (masked) {
        WeightsOfRun<true>(first, last, range);
      } else {
        WeightsOfRun<false>(first, last, range);
      }
    });
  }

  // The pairs of a group's weights take the first half of its scores' place.
  uint32_t* PairsOf(int64_t group) const { return reinterpret_cast<uint32_t*>(ScoresOf(group)); }

  // From pairs back to f32, from the last row down, in place.
  void SplitPairs(int64_t first, int64_t rows) {
    const U32Tag d;
    uint32_t* pairs = PairsOf(first);
    for (int64_t n = rows / 2 - 1; n >= 0; --n) {
      for (size_t i = 0; i < Q(); i += hn::Lanes(d)) {
        const auto pair = hn::Load(d, pairs + n * Q() + i);
        hn::Store(hn::ShiftLeft<16>(pair), d, pairs + (2 * n + 1) * Q() + i);
        hn::Store(hn::And(pair, hn::Set(d, 0xFFFF0000u)), d, pairs + 2 * n * Q() + i);
      }
    }
  }

  void ComputeOutput(const KeyChunk& chunk, const MagnitudeRange& weights,
                     const PackedBlock& packed, RowsAhead& ahead, int64_t lines) {
    constexpr int kLog2Terms = 32;  // more rows than any problem has
    const bool pairs =
        PairsInOutput() && o_by_pairs_ && PairsAreExact(weights, packed.v_range, kLog2Terms);
    o_by_pairs_ = pairs;
    const float* v = static_cast<const float*>(packed.v);
    if (PairsInOutput() && !pairs) {
      float* plain = plain_.Reserve(VTileStride(geometry_.block_keys) * dims_ / kTileDims);
      PackVF32(problem_.v, b_, key_head_, chunk.key_block * geometry_.block_keys,
               geometry_.block_keys, dims_, plain);
      v = plain;
    }
    ForRuns(groups_, chunk, [&](int64_t first, int64_t last, bool masked) HWY_ATTR {
      const int64_t rows = (last - first) * kGroupKeys, row = RowOf(first);
      if (PairsInOutput() && !pairs) SplitPairs(first, rows);
      for (int64_t i = 0; i < dims_; i += kTileDims) {
        ahead.Next(lines);
        float* o = o_ + i * Q();
        if (pairs) {
#if BITANCHOR_HAVE_BF16_DOT
          const int64_t tile = i / kTileDims * VTileStride(geometry_.VRows());
          bf16_dot::PairOutputs(PairsOf(first), static_cast<const uint32_t*>(packed.v) + tile,
                                geometry_.VRows(), row / 2, rows / 2, kTileDims, o);
#endif
          continue;
        }
        const int64_t v_rows = geometry_.block_keys;
        const float* tile = v + i / kTileDims * VTileStride(v_rows);
        if (masked) {
          Outputs<F32Multiply, true>(ScoresOf(first), tile, v_rows, row, rows, kTileDims,
                                     &groups_.lanes[Group(first).lanes], o);
        } else {
          Outputs<F32Multiply, false>(ScoresOf(first), tile, v_rows, row, rows, kTileDims, nullptr,
                                      o);
        }
      }
    });
  }

  const AttentionPlan& plan_;
  const AttentionProblem& problem_;
  const PackGeometry& geometry_;
  AlignedBuffer<float>& plain_;
  const KeyGroups& groups_;
  ChunkCursor chunks_;
  const int64_t D_, dims_, b_, h_, key_head_, q0_, nq_;
  float *q_, *t_, *rows_, *o_, *m_, *l_;
  uint32_t* q_pairs_;
  bool q_loaded_ = false;   // q_ holds the queries in f32
  bool o_by_pairs_ = true;  // no sum of o has left the pairs yet
  MagnitudeRange q_range_;
};

int64_t AttentionQueryBlock() { return TileLanes(); }

// The task's query blocks all read key head `key_head` of batch b; scratch.blocks[n].groups are
// those of blocks[n].
void AttentionForwardTask(const AttentionPlan& plan, int64_t b, int64_t key_head,
                          std::span<const QueryBlock> blocks, AttentionScratch& scratch,
                          const ForwardOutputs& out) {
  const PackGeometry& geometry = plan.geometry;
  int64_t scores_size = 0;
  for (size_t n = 0; n < blocks.size(); ++n) {
    scores_size += ForwardBlock::ScoresSize(scratch.blocks[n].groups);
  }
  float* scores = scratch.scores.Reserve(scores_size);
  std::vector<ForwardBlock> forward;
  forward.reserve(blocks.size());
  for (size_t n = 0; n < blocks.size(); ++n) {
    forward.emplace_back(plan, b, blocks[n], scores, scratch.blocks[n], scratch.plain);
    scores += ForwardBlock::ScoresSize(scratch.blocks[n].groups);
  }
  float* memory = scratch.packs.Reserve(std::max(geometry.KWords(), geometry.VWords()));
  // While a key block is worked on, the next one that some query sees is asked for.
  const auto next_seen = [&](int64_t key_block) {
    const auto sees = [&](ForwardBlock& block) { return block.Chunks().Sees(key_block); };
    while (key_block < plan.KeyBlocks() && std::none_of(forward.begin(), forward.end(), sees)) {
      ++key_block;
    }
    return key_block;
  };
  const int64_t block_keys = geometry.block_keys;
  std::vector<std::pair<ForwardBlock*, const KeyChunk*>> work;
  for (const bool keys_pass : {true, false}) {
    RowsAhead ahead(keys_pass ? plan.problem.k : plan.problem.v, b, key_head, 1);
    const int64_t steps =
        keys_pass ? ForwardBlock::ScoreSteps(geometry) : ForwardBlock::OutputSteps(geometry);
    for (int64_t key_block = next_seen(0), next; key_block < plan.KeyBlocks(); key_block = next) {
      PackedBlock packed{keys_pass ? memory : nullptr, keys_pass ? nullptr : memory, {}, {}};
      PackKeyBlock(plan.problem, geometry, b, key_head, key_block, packed);
      work.clear();
      for (ForwardBlock& block : forward) {
        if (const KeyChunk* chunk = block.Chunks().Next(key_block)) {
          work.emplace_back(&block, chunk);
        }
      }
      next = next_seen(key_block + 1);
      ahead.Begin(next * block_keys, (next + 1) * block_keys);
      const int64_t lines =
          ahead.LinesAtATime(block_keys, steps * static_cast<int64_t>(work.size()));
      for (const auto& [block, chunk] : work) {
        if (keys_pass) {
          block->ComputeScores(*chunk, packed, ahead, lines);
        } else {
          block->ComputeWeightsAndOutput(*chunk, packed, ahead, lines);
        }
      }
    }
    for (ForwardBlock& block : forward) block.Chunks().Rewind();
  }
  for (ForwardBlock& block : forward) block.Store(out);
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
