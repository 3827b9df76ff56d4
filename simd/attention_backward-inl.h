// Attention backward, one query per lane while scores are made, one dimension per lane while
// gradients of keys and values are.
//
// A task takes some neighbouring blocks of Q = 3 N queries of one head through the key blocks that
// some of them see, in ascending order, and in each does for one block after the other:
//   1. t[row][Q] = scale * q.k and g[row][Q] = dO.v, as the forward pass makes scores
//   2. P = exp(t - m) / l and dS = P (g - delta) in their place, rounded as the recipe says
//   3. dq[d][Q] = fold over rows of fma(dS, k_d), as the forward pass makes o
//   4. dv[row][d] and dk[row][d] = folds over queries of fma(P, dO_d) and fma(dS, q_d): lanes are
//      dimensions, the words P and dS
// So scores and dP are computed once. Every fold ascends: 3 because key blocks do, 4 because a key
// block is taken by one task at a time, in the order of heads and then of queries (KeyBlockTurns).
// Of a group of keys that not all queries see, 3 selects lanes and 4 takes, row by row, the runs of
// queries that see it.

#if defined(BITANCHOR_SIMD_ATTENTION_BACKWARD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BITANCHOR_SIMD_ATTENTION_BACKWARD_INL_H_
#undef BITANCHOR_SIMD_ATTENTION_BACKWARD_INL_H_
#else
#define BITANCHOR_SIMD_ATTENTION_BACKWARD_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <span>
#include <utility>
#include <vector>

#include "simd/attention_backward_plan.h"
#include "simd/exp-inl.h"
#include "simd/packs-inl.h"
#include "simd/rows-inl.h"
#include "simd/tiles-inl.h"
#include "simd/transpose-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

// A key block of one head, packed for the three ways it is read: k and v by rows, k by tiles.
struct BackwardPack {
  const float *k_rows, *v_rows, *k_tiles;
};

// One block of queries. Buffers: q, dout, dq [dims][Q]; the same queries as columns of lanes,
// q_columns and dout_columns [column][Q][W], W = 3 N dimensions; m, l, delta [Q].
class BackwardBlock {
 public:
  BackwardBlock(const BackwardPlan& plan, int64_t b, const QueryBlock& block,
                BackwardBlockScratch& scratch, BackwardTaskScratch& task)
      : plan_(plan),
        problem_(plan.problem),
        groups_(scratch.groups),
        chunks_(groups_),
        D_(problem_.shape.D),
        dims_(plan.geometry.dims),
        columns_(plan.sums.columns),
        b_(b),
        h_(block.h),
        q0_(block.q0),
        nq_(block.nq) {
    const int64_t Q = this->Q();
    q_ = scratch.q.Reserve(dims_ * Q);
    dout_ = scratch.dout.Reserve(dims_ * Q);
    dq_ = scratch.dq.Reserve(dims_ * Q);
    q_columns_ = scratch.q_columns.Reserve(columns_ * Q * Q);
    dout_columns_ = scratch.dout_columns.Reserve(columns_ * Q * Q);
    m_ = scratch.statistics.Reserve(3 * Q);
    l_ = m_ + Q;
    delta_ = l_ + Q;
    t_ = task.scores.Reserve(plan.geometry.block_keys * Q);
    g_ = task.gradients.Reserve(plan.geometry.block_keys * Q);
    rows_ = task.rows.Reserve(Q * RowStride());
    LoadLanes(problem_.q, b_, h_, q0_, nq_, rows_, q_);
    LoadLanes(plan.dout, b_, h_, q0_, nq_, rows_, dout_);
    LoadColumns(problem_.q, q_columns_);
    LoadColumns(plan.dout, dout_columns_);
    LoadStatistics();
    LoadDelta();
    std::fill(dq_, dq_ + dims_ * Q, 0.0f);
  }

  ChunkCursor& Chunks() { return chunks_; }

  // Steps 1 to 3.
  void ComputeScores(const KeyChunk& chunk, const BackwardPack& pack) {
    const int64_t stride = plan_.geometry.k_stride, block_keys = plan_.geometry.block_keys;
    ForRuns(groups_, chunk, [&](int64_t first, int64_t last, bool masked) HWY_ATTR {
      const int64_t rows = (last - first) * kGroupKeys, row = RowOf(first);
      float *t = t_ + row * Q(), *g = g_ + row * Q();
      Scores<F32Multiply, false>(q_, pack.k_rows + row * stride, stride, rows, D_,
                                 problem_.softmax_scale, t, nullptr);
      Scores<F32Multiply, false>(dout_, pack.v_rows + row * stride, stride, rows, D_, 1.0f, g,
                                 nullptr);
      if (plan_.recipe.weights == WeightRounding::kBF16) {
        ScoreGradients<true>(rows, t, g);
      } else {
        ScoreGradients<false>(rows, t, g);
      }
      if (masked) {
        Outputs<F32Multiply, true>(g, pack.k_tiles, block_keys, row, rows, dims_,
                                   &groups_.lanes[Group(first).lanes], dq_);
      } else {
        Outputs<F32Multiply, false>(g, pack.k_tiles, block_keys, row, rows, dims_, nullptr, dq_);
      }
    });
  }

  // Step 4, after ComputeScores of the same chunk. dk and dv: the key block's rows,
  // [column][column_stride].
  void AddKeyGradients(const KeyChunk& chunk, float* dk, float* dv, int64_t column_stride) const {
    ForRuns(groups_, chunk, [&](int64_t first, int64_t last, bool masked) HWY_ATTR {
      const int64_t rows = (last - first) * kGroupKeys, row = RowOf(first);
      const uint64_t* seen = masked ? &groups_.lanes[Group(first).lanes] : nullptr;
      for (int64_t column = 0; column < columns_; ++column) {
        const int64_t lanes = column * Q() * Q(), sums = column * column_stride + row * Q();
        AddRows(rows, seen, dout_columns_ + lanes, t_ + row * Q(), dv + sums);
        AddRows(rows, seen, q_columns_ + lanes, g_ + row * Q(), dk + sums);
      }
    });
  }

  void StoreQueryGradients(const MutableTensorView& dq) {
    const F32Tag d;
    const F32 scale = hn::Set(d, problem_.softmax_scale);
    for (int64_t i = 0; i < D_ * Q(); i += hn::Lanes(d)) {
      hn::Store(hn::Mul(scale, hn::Load(d, dq_ + i)), d, dq_ + i);
    }
    TransposeWords(dq_, Q(), D_, Q(), rows_, RowStride());
    for (int64_t lane = 0; lane < nq_; ++lane) {
      StoreRow(dq.dtype, rows_ + lane * RowStride(), D_, dq.Row(b_, q0_ + lane, h_));
    }
  }

 private:
  static int64_t Q() { return TileLanes(); }
  int64_t RowStride() const { return dims_ + 4; }
  const KeyGroup& Group(int64_t group) const { return groups_.groups[group]; }
  int64_t RowOf(int64_t group) const { return Group(group).key % plan_.geometry.block_keys; }

  // Dimensions past D and queries past nq hold zeros; no sum of theirs is kept.
  void LoadColumns(const TensorView& tensor, float* columns) {
    std::fill(columns, columns + columns_ * Q() * Q(), 0.0f);
    for (int64_t n = 0; n < nq_; ++n) {
      LoadRow(tensor.dtype, tensor.Row(b_, q0_ + n, h_), D_, rows_);
      for (int64_t i = 0; i < D_; i += Q()) {
        std::copy(rows_ + i, rows_ + std::min(D_, i + Q()), columns + (i + n) * Q());
      }
    }
  }

  // Lanes past nq: any numbers that raise nothing.
  void LoadStatistics() {
    std::fill(m_, m_ + Q(), 0.0f);
    std::fill(l_, l_ + Q(), 1.0f);
    const int64_t at = (b_ * problem_.shape.Hq + h_) * problem_.shape.Sq + q0_;
    std::copy_n(&plan_.rows.m[at], nq_, m_);
    std::copy_n(&plan_.rows.l[at], nq_, l_);
  }

  // delta = fold over d of fma(dO_d, O_d).
  void LoadDelta() {
    const F32Tag d;
    const int64_t N = hn::Lanes(d);
    float* o = dq_;  // not needed yet
    LoadLanes(plan_.o, b_, h_, q0_, nq_, rows_, o);
    for (int64_t vector = 0; vector < Q(); vector += N) {
      F32 delta = hn::Zero(d);
      for (int64_t i = 0; i < D_; ++i) {
        delta =
            Fma(hn::Load(d, dout_ + i * Q() + vector), hn::Load(d, o + i * Q() + vector), delta);
      }
      hn::Store(delta, d, delta_ + vector);
    }
  }

  // Step 2. Lanes that do not see a row may hold anything.
  template <bool kRound>
  void ScoreGradients(int64_t rows, float* t, float* g) const {
    const F32Tag d;
    const int64_t N = hn::Lanes(d);
    for (int64_t n = 0; n < rows; ++n) {
      for (int64_t vector = 0; vector < Q(); vector += N, t += N, g += N) {
        const F32 p = ExpNonPositive(hn::Sub(hn::Load(d, t), hn::Load(d, m_ + vector)));
        const F32 P = hn::Div(p, hn::Load(d, l_ + vector));
        const F32 dS = hn::Mul(P, hn::Sub(hn::Load(d, g), hn::Load(d, delta_ + vector)));
        hn::Store(kRound ? RoundToBF16(P) : P, d, t);
        hn::Store(kRound ? RoundToBF16(dS) : dS, d, g);
      }
    }
  }

  // sums[row][W] of one column advance over the block's queries, lanes [Q][W] and words [row][Q].
  // seen: the queries that see each row, or null where all do.
  HWY_INLINE void AddRows(int64_t rows, const uint64_t* seen, const float* lanes,
                          const float* words, float* sums) const {
    if (seen == nullptr) {
      for (int64_t n = 0; n < rows; n += static_cast<int64_t>(kTile)) {
        RowTileFromMemory<F32Multiply>(TileSequence(), lanes, words + n * Q(), Q(), nq_,
                                       sums + n * Q());
      }
      return;
    }
    const uint64_t queries = nq_ < 64 ? (uint64_t{1} << nq_) - 1 : kAllLanes;
    for (int64_t n = 0; n < rows; ++n, words += Q(), sums += Q()) {
      ForRunsOfBits(seen[n] & queries, [&](int begin, int count) HWY_ATTR {
        RowTileFromMemory<F32Multiply>(std::make_index_sequence<kVectors>(), lanes + begin * Q(),
                                       words + begin, 0, count, sums);
      });
    }
  }

  const BackwardPlan& plan_;
  const AttentionProblem& problem_;
  const KeyGroups& groups_;
  ChunkCursor chunks_;
  const int64_t D_, dims_, columns_, b_, h_, q0_, nq_;
  float *q_, *dout_, *dq_, *q_columns_, *dout_columns_, *m_, *l_, *delta_, *t_, *g_, *rows_;
};

// The task's blocks are of one head, ascending; scratch.blocks[n].groups are those of blocks[n].
// Gives up where another task failed.
void AttentionBackwardTask(const BackwardPlan& plan, int64_t b, std::span<const QueryBlock> blocks,
                           KeyBlockTurns& turns, int64_t task, BackwardTaskScratch& scratch,
                           const MutableTensorView& dq) {
  const PackGeometry& geometry = plan.geometry;
  const int64_t key_head = plan.problem.shape.KeyHead(blocks[0].h),
                block_keys = geometry.block_keys;
  float* k_rows = scratch.k_rows.Reserve(geometry.KWords());
  float* v_rows = scratch.v_rows.Reserve(geometry.KWords());
  float* k_tiles = scratch.k_tiles.Reserve(geometry.VWords());
  std::vector<BackwardBlock> backward;
  backward.reserve(blocks.size());
  for (size_t n = 0; n < blocks.size(); ++n) {
    backward.emplace_back(plan, b, blocks[n], scratch.blocks[n], scratch);
  }
  const KeyGradientSums& sums = plan.sums;
  std::vector<std::pair<BackwardBlock*, const KeyChunk*>> work;
  for (int64_t key_block = 0; key_block < sums.key_blocks; ++key_block) {
    work.clear();
    for (BackwardBlock& block : backward) {
      if (const KeyChunk* chunk = block.Chunks().Next(key_block)) work.emplace_back(&block, chunk);
    }
    if (work.empty()) continue;
    const int64_t key = key_block * block_keys;
    PackKF32(plan.problem.k, b, key_head, key, block_keys, geometry.k_stride, k_rows);
    PackKF32(plan.problem.v, b, key_head, key, block_keys, geometry.k_stride, v_rows);
    PackVF32(plan.problem.k, b, key_head, key, block_keys, geometry.dims, k_tiles);
    const BackwardPack pack{k_rows, v_rows, k_tiles};
    const int64_t at = sums.At(b, key_head, key);
    bool mine = false;
    for (const auto& [block, chunk] : work) {
      block->ComputeScores(*chunk, pack);
      if (!mine && !turns.Await(task, key_block)) return;
      mine = true;
      block->AddKeyGradients(*chunk, sums.dk + at, sums.dv + at, sums.column_size);
    }
    turns.Pass(task, key_block);
  }
  for (BackwardBlock& block : backward) block.StoreQueryGradients(dq);
}

// dk and dv of keys [first, last), from their sums.
void StoreKeyGradients(const BackwardPlan& plan, int64_t b, int64_t first, int64_t last,
                       const AttentionGradients& out) {
  const F32Tag d;
  const AttentionShape& shape = plan.problem.shape;
  const int64_t W = TileLanes();
  const auto store = [&](const float* sums, float scale, int64_t key_head, int64_t j,
                         const MutableTensorView& to) HWY_ATTR {
    HWY_ALIGN float row[kMaxHeadDim + kVectors * kMaxLanes];
    sums += plan.sums.At(b, key_head, j);
    for (int64_t i = 0; i < shape.D; i += W, sums += plan.sums.column_size) {
      for (int64_t n = 0; n < W; n += hn::Lanes(d)) {
        hn::StoreU(hn::Mul(hn::Set(d, scale), hn::Load(d, sums + n)), d, row + i + n);
      }
    }
    StoreRow(to.dtype, row, shape.D, to.Row(b, j, key_head));
  };
  for (int64_t key_head = 0; key_head < shape.Hkv; ++key_head) {
    for (int64_t j = first; j < last; ++j) {
      store(plan.sums.dk, plan.problem.softmax_scale, key_head, j, out.dk);
      store(plan.sums.dv, 1.0f, key_head, j, out.dv);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#endif  // per-target guard
