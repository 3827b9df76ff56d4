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
                                                        capture.problem.dtype, contract.libm_ulp,
                                                        exact::FrequencyFreedom(config));
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

void AddRow(std::string_view name, const TensorView& got, int64_t b, int64_t s, int64_t h,
            const Interval* intervals, const GradientRows& rows, Census& census) {
  const int64_t D = got.shape[3];
  std::vector<float> row(D);
  for (int64_t d = 0; d < D; ++d) row[d] = got.At(b, s, h, d);
  census.AddRow({b, s, h, 0}, row.data(), intervals, D);
  if (rows) rows(name, b, s, h, row.data(), intervals, D);
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

bool Failed(const Verdict& verdict, const std::string& name) {
  return std::ranges::any_of(verdict.outputs, [&](const OutputVerdict& output) {
    return output.name == name && output.Failed();
  });
}

// The capture's gradients that can be judged, and how.
class GradientJudge {
 public:
  GradientJudge(const Capture& capture, const Contract& contract, const IntervalProblem& attention,
                const GradientRows& rows, Verdict& verdict)
      : capture_(capture),
        rows_(rows),
        shape_(capture.problem.shape),
        dq_(Judgeable("dq", capture.dq, capture, verdict)),
        dk_(Judgeable("dk", capture.dk, capture, verdict)),
        dv_(capture.dv),
        problem_(MakeProblem(attention, verdict)),
        intervals_(problem_, contract),
        dq_turn_(capture, contract, capture.problem.q_positions, shape_.Sq),
        dk_turn_(capture, contract, capture.problem.k_positions, shape_.Skv) {}

  void Judge(const SampleOptions& sample, const simd::EngineOptions& options, Verdict& verdict) {
    if (capture_.delta && !rows_) {
      const Census delta = Deltas(sample, options);
      verdict.outputs.push_back({"delta", delta});
      if (delta.Failed()) problem_.delta.clear();
    }
    if (!dq_ && !dk_ && !dv_) return;
    const Census dq = Queries(sample, options);
    const auto [dv, dk] = dk_ || dv_ ? Keys(sample, options) : NoKeys();
    if (dv_) verdict.outputs.push_back({"dv", dv});
    if (dq_) verdict.outputs.push_back({"dq", dq});
    if (dk_) verdict.outputs.push_back({"dk", dk});
  }

 private:
  exact::GradientProblem MakeProblem(const IntervalProblem& attention,
                                     const Verdict& verdict) const {
    const AttentionProblem& p = capture_.problem;
    exact::GradientProblem problem;
    problem.attention = attention;
    problem.dout = capture_.dout;
    problem.dq_dtype = TypeOf(dq_, p.dtype);
    problem.dk_dtype = TypeOf(dk_, p.dtype);
    problem.dv_dtype = TypeOf(dv_, p.dtype);
    problem.before_rope = p.rope.has_value();
    if (rows_) return problem;
    if (!Failed(verdict, "lse")) {
      problem.lse = Rows(capture_.lse, [&](float lse) {
        return NaturalLse(capture_.lse_spec, lse, p.softmax_scale, false);
      });
    }
    problem.lse_relative = LseConversion(capture_.lse_spec);
    problem.delta = Rows(capture_.delta, [](float delta) { return delta; });
    return problem;
  }

  // Of [B, Hq, Sq], the rows that are judged.
  std::vector<bool> Sampled(const std::vector<RowBlock>& blocks) const {
    std::vector<bool> sampled(shape_.B * shape_.Hq * shape_.Sq);
    for (const RowBlock& block : blocks) {
      const auto first = sampled.begin() + (block.b * shape_.Hq + block.h) * shape_.Sq + block.s0;
      std::fill(first, first + block.rows, true);
    }
    return sampled;
  }

  Census Deltas(const SampleOptions& sample, const simd::EngineOptions& options) {
    return JudgedRows<1>(options, RowBlocks(shape_.B, shape_.Hq, shape_.Sq, sample),
                         {Census(DType::kF32)},
                         [&](int64_t b, int64_t h, int64_t i, std::array<Census, 1>& mine) {
                           const float got = capture_.delta.At(b, h, i);
                           Interval want;
                           intervals_.QueryRow(b, h, i, nullptr, want);
                           mine[0].AddRow({b, i, h, -1}, &got, &want, 1);
                         })[0];
  }

  // dq. Keys need every query that sees them to have been looked at.
  Census Queries(const SampleOptions& sample, const simd::EngineOptions& options) {
    const std::vector<RowBlock> judged = RowBlocks(shape_.B, shape_.Hq, shape_.Sq, sample);
    const std::vector<bool> sampled = Sampled(judged);
    const std::vector<RowBlock> looked_at =
        dk_ || dv_ ? RowBlocks(shape_.B, shape_.Hq, shape_.Sq, {}) : judged;
    return JudgedRows<1>(options, looked_at, {Census(problem_.dq_dtype)},
                         [&](int64_t b, int64_t h, int64_t i, std::array<Census, 1>& mine) {
                           const int64_t row = (b * shape_.Hq + h) * shape_.Sq + i;
                           Query(b, h, i, dq_ && sampled[row], mine[0]);
                         })[0];
  }

  void Query(int64_t b, int64_t h, int64_t i, bool judged, Census& mine) {
    std::vector<Interval> row(shape_.D);
    Interval delta;
    intervals_.QueryRow(b, h, i, judged ? row.data() : nullptr, delta);
    if (!judged) return;
    dq_turn_.Row(b, i, row.data());
    AddRow("dq", dq_, b, i, h, row.data(), rows_, mine);
  }

  std::array<Census, 2> NoKeys() const {
    return {Census(problem_.dv_dtype), Census(problem_.dk_dtype)};
  }

  // dv and dk.
  std::array<Census, 2> Keys(const SampleOptions& sample, const simd::EngineOptions& options) {
    return JudgedRows<2>(
        options, RowBlocks(shape_.B, shape_.Hkv, shape_.Skv, sample), NoKeys(),
        [&](int64_t b, int64_t h, int64_t j, std::array<Census, 2>& mine) { Key(b, h, j, mine); });
  }

  void Key(int64_t b, int64_t h, int64_t j, std::array<Census, 2>& mine) const {
    std::vector<Interval> dk(shape_.D), dv(shape_.D);
    intervals_.KeyRow(b, h, j, dk.data(), dv.data());
    if (dv_) AddRow("dv", dv_, b, j, h, dv.data(), rows_, mine[0]);
    if (!dk_) return;
    dk_turn_.Row(b, j, dk.data());
    AddRow("dk", dk_, b, j, h, dk.data(), rows_, mine[1]);
  }

  const Capture& capture_;
  const GradientRows& rows_;
  const AttentionShape& shape_;
  TensorView dq_, dk_, dv_;
  exact::GradientProblem problem_;
  exact::GradientIntervals intervals_;
  TurnBack dq_turn_, dk_turn_;
};

}  // namespace

void JudgeGradients(const Capture& capture, const Contract& contract,
                    const IntervalProblem& attention, const SampleOptions& sample,
                    const simd::EngineOptions& options, Verdict& verdict,
                    const GradientRows& rows) {
  if (!capture.dout) return;
  GradientJudge(capture, contract, attention, rows, verdict).Judge(sample, options, verdict);
}

}  // namespace bitanchor::tools
