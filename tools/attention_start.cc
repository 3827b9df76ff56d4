#include "tools/attention_start.h"

#include "lib/exact/attention_interval.h"
#include "simd/parallel.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {

AttentionStart::AttentionStart(const Capture& capture, const Contract& contract,
                               const simd::EngineOptions& options)
    : capture_(capture), contract_(contract), options_(options) {
  options_.progress = nullptr;
  if (capture.q_rope && capture.k_rope) {
    rotated_.q.start = capture.q_rope;
    rotated_.k.start = capture.k_rope;
  } else if (capture.problem.rope) {
    Verdict unused;
    rotated_ = JudgeRope(capture, contract, options_, unused);
  }
  attention_ = std::make_shared<const IntervalProblem>(AttentionOf(capture, rotated_));
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
