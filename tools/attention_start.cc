#include "tools/attention_start.h"

#include "lib/exact/attention_interval.h"
#include "simd/parallel.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {

AttentionStart::AttentionStart(const Capture& capture, const Contract& contract,
                               const simd::EngineOptions& options)
    : capture_(capture), contract_(contract), options_(options) {
  options_.progress = nullptr;
  auto start = std::make_shared<IntervalProblem>();
  start->problem = capture.problem;
  start->o_dtype = capture.o ? capture.o.dtype : capture.problem.dtype;
  if (capture.problem.rope) {
    if (capture.q_rope && capture.k_rope) {
      rotated_.q.start = capture.q_rope;
      rotated_.k.start = capture.k_rope;
    } else {
      Verdict unused;
      rotated_ = JudgeRope(capture, contract, options_, unused);
    }
    start->problem.q = rotated_.q.start;
    start->problem.k = rotated_.k.start;
    start->q_deviation = rotated_.q.deviation.view;
    start->k_deviation = rotated_.k.deviation.view;
    start->problem.rope.reset();
  }
  attention_ = std::move(start);
}

std::vector<IntervalBlock> AttentionStart::Intervals(
    const std::vector<exact::RowPlace>& rows) const {
  std::vector<IntervalBlock> want(rows.size());
  simd::ParallelFor(options_, static_cast<int64_t>(rows.size()), [&](int64_t n, int /*worker*/) {
    const auto [b, h, i] = rows[n];
    exact::AttentionIntervals(problem(), contract_, b, h, i, 1, want[n]);
    WidenForConversion(capture_.lse_spec, want[n].lse[0]);
  });
  return want;
}

}  // namespace bitanchor::tools
