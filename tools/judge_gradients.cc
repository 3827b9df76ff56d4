#include "tools/judge_gradients.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>

#include "lib/exact/gradient_interval.h"
#include "lib/exact/rope_interval.h"

namespace bitanchor::tools {
namespace {

// The way back through RoPE of one gradient; without rope its intervals stay as they are.
class TurnBack {
 public:
  TurnBack(const Capture& capture, const Contract& contract, const std::vector<int64_t>& positions,
           int64_t S)
      : positions_(positions), S_(S), D_(capture.problem.shape.D) {
    if (!capture.problem.rope) return;
    const RopeConfig& config = *capture.problem.rope;
    intervals_ = std::make_unique<exact::RopeIntervals>(config, *FindRopeRecipe(config.recipe),
                                                        capture.problem.dtype, contract.libm_ulp);
  }

  void Row(int64_t b, int64_t s, Interval* row) const {
    if (intervals_) intervals_->Gradient(row, D_, positions_[b * S_ + s], row);
  }

 private:
  const std::vector<int64_t>& positions_;
  int64_t S_, D_;
  std::unique_ptr<exact::RopeIntervals> intervals_;
};

// The kernel's rows of lse or delta, as the intervals take them.
template <typename Number>
std::vector<float> Rows(const RowsView& rows, const Number& number) {
  std::vector<float> out;
  if (!rows) return out;
  out.reserve(rows.B * rows.Hq * rows.Sq);
  for (int64_t b = 0; b < rows.B; ++b) {
    for (int64_t h = 0; h < rows.Hq; ++h) {
      for (int64_t i = 0; i < rows.Sq; ++i) out.push_back(number(rows.At(b, h, i)));
    }
  }
  return out;
}

void AddRow(const TensorView& got, int64_t b, int64_t s, int64_t h, const Interval* intervals,
            Census& census) {
  const int64_t D = got.shape[3];
  std::vector<float> row(D);
  for (int64_t d = 0; d < D; ++d) row[d] = got.At(b, s, h, d);
  census.AddRow({b, s, h, 0}, row.data(), intervals, D);
}

DType TypeOf(const TensorView& gradient, DType otherwise) {
  return gradient ? gradient.dtype : otherwise;
}

// A gradient to judge, or an absent view where its type cannot be judged.
TensorView Judgeable(const char* name, const TensorView& gradient, const Capture& capture,
                     Verdict& verdict) {
  if (!gradient || !capture.problem.rope || gradient.dtype == capture.problem.dtype)
    return gradient;
  verdict.not_judged.push_back(fmt::format("{} ({}; with rope only {}, as q)", name,
                                           DTypeName(gradient.dtype),
                                           DTypeName(capture.problem.dtype)));
  return {};
}

}  // namespace

void JudgeGradients(const Capture& capture, const Contract& contract,
                    const IntervalProblem& attention, const SampleOptions& sample,
                    const simd::EngineOptions& options, Verdict& verdict) {
  const AttentionProblem& p = capture.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
  const TensorView dq = Judgeable("dq", capture.dq, capture, verdict);
  const TensorView dk = Judgeable("dk", capture.dk, capture, verdict);
  const TensorView dv = capture.dv;
  if (!dq && !dk && !dv && !capture.delta) return;
  exact::GradientProblem problem{attention,
                                 capture.dout,
                                 TypeOf(dq, p.dtype),
                                 TypeOf(dk, p.dtype),
                                 TypeOf(dv, p.dtype),
                                 p.rope.has_value(),
                                 {},
                                 {}};
  problem.lse = Rows(capture.lse, [&](float lse) {
    return NaturalLse(capture.lse_spec, lse, p.softmax_scale, false);
  });
  problem.lse_relative = LseConversion(capture.lse_spec);
  problem.delta = Rows(capture.delta, [](float delta) { return delta; });
  exact::GradientIntervals intervals(problem, contract);
  const TurnBack dq_turn(capture, contract, p.q_positions, Sq);
  const TurnBack dk_turn(capture, contract, p.k_positions, Skv);

  // Without keys to judge, only the sampled queries need to be looked at.
  const bool keys = dk || dv;
  std::vector<bool> sampled(B * Hq * Sq);
  const std::vector<RowBlock> sample_blocks = RowBlocks(B, Hq, Sq, sample);
  for (const RowBlock& block : sample_blocks) {
    const auto first = sampled.begin() + (block.b * Hq + block.h) * Sq + block.s0;
    std::fill(first, first + block.rows, true);
  }
  const std::vector<RowBlock> query_blocks = keys ? RowBlocks(B, Hq, Sq, {}) : sample_blocks;
  const auto queries =
      Judged<2>(options, static_cast<int64_t>(query_blocks.size()),
                {Census(DType::kF32), Census(problem.dq_dtype)},
                [&, Hq = Hq, Sq = Sq, D = D](int64_t task, std::array<Census, 2>& mine) {
                  const auto [b, h, s0, rows] = query_blocks[task];
                  std::vector<Interval> row(D);
                  for (int64_t i = s0; i < s0 + rows; ++i) {
                    const bool judged = sampled[(b * Hq + h) * Sq + i];
                    Interval delta;
                    intervals.QueryRow(b, h, i, dq && judged ? row.data() : nullptr, delta);
                    if (!judged) continue;
                    if (capture.delta) {
                      const float got = capture.delta.At(b, h, i);
                      mine[0].AddRow({b, i, h, -1}, &got, &delta, 1);
                    }
                    if (!dq) continue;
                    dq_turn.Row(b, i, row.data());
                    AddRow(dq, b, i, h, row.data(), mine[1]);
                  }
                });
  if (capture.delta) verdict.outputs.push_back({"delta", queries[0]});
  if (keys) {
    const std::vector<RowBlock> key_blocks = RowBlocks(B, Hkv, Skv, sample);
    const auto judged = Judged<2>(options, static_cast<int64_t>(key_blocks.size()),
                                  {Census(problem.dv_dtype), Census(problem.dk_dtype)},
                                  [&, D = D](int64_t task, std::array<Census, 2>& mine) {
                                    const auto [b, h, s0, rows] = key_blocks[task];
                                    std::vector<Interval> dk_row(D), dv_row(D);
                                    for (int64_t j = s0; j < s0 + rows; ++j) {
                                      intervals.KeyRow(b, h, j, dk_row.data(), dv_row.data());
                                      if (dv) AddRow(dv, b, j, h, dv_row.data(), mine[0]);
                                      if (!dk) continue;
                                      dk_turn.Row(b, j, dk_row.data());
                                      AddRow(dk, b, j, h, dk_row.data(), mine[1]);
                                    }
                                  });
    if (dv) verdict.outputs.push_back({"dv", judged[0]});
    if (dq) verdict.outputs.push_back({"dq", queries[1]});
    if (dk) verdict.outputs.push_back({"dk", judged[1]});
  } else if (dq) {
    verdict.outputs.push_back({"dq", queries[1]});
  }
}

}  // namespace bitanchor::tools
