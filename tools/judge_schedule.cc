#include "tools/judge_schedule.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <vector>

#include "lib/tensor/error.h"
#include "tools/judge.h"
#include "tools/judge_rows.h"
#include "tools/schedule_option.h"
#include "tools/scheduled.h"

namespace bitanchor::tools {
namespace {

// `high` alone a NaN: anything.
Interval IntervalOf(float low, float high) {
  if (std::isnan(low)) return kNaNInterval;
  if (std::isnan(high)) return kUndeterminedInterval;
  return {(static_cast<double>(low) + high) / 2, low, high};
}

OutputVerdict VerdictOfO(const Capture& capture, const simd::ScheduledAnswer& answer) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = capture.problem.shape;
  const DType dtype = capture.problem.dtype;
  Census census(dtype, Strictness::kSet);
  std::vector<float> got(static_cast<size_t>(D));
  std::vector<Interval> want(static_cast<size_t>(D));
  size_t at = 0;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t i = 0; i < Sq; ++i) {
      for (int64_t h = 0; h < Hq; ++h) {
        for (int64_t d = 0; d < D; ++d, ++at) {
          got[static_cast<size_t>(d)] = capture.o.At(b, i, h, d);
          want[static_cast<size_t>(d)] = IntervalOf(ScheduledNumber(dtype, answer.o_low[at]),
                                                    ScheduledNumber(dtype, answer.o_high[at]));
        }
        census.AddRow({b, i, h, 0}, got.data(), want.data(), D);
      }
    }
  }
  return {"o", census};
}

OutputVerdict VerdictOfLse(const Capture& capture, const Schedule& schedule,
                           const simd::ScheduledAnswer& answer) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const AttentionShape& shape = capture.problem.shape;
  const std::vector<bool> empty = EmptyRows(capture.problem, schedule);
  Census census(DType::kF32, Strictness::kSet);
  size_t at = 0;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t h = 0; h < shape.Hq; ++h) {
      for (int64_t i = 0; i < shape.Sq; ++i, ++at) {
        const bool sees_nothing = empty[static_cast<size_t>(b * shape.Sq + i)];
        Interval want = sees_nothing ? Interval{-kInfinity, -kInfinity, -kInfinity}
                                     : IntervalOf(answer.lse_low[at], answer.lse_high[at]);
        WidenForConversion(capture.lse_spec, want);
        const float got = NaturalLse(capture.lse_spec, capture.lse.At(b, h, i),
                                     capture.problem.softmax_scale, sees_nothing);
        census.AddRow({b, i, h, -1}, &got, &want, 1);
      }
    }
  }
  return {"lse", census};
}

}  // namespace

AttentionProblem AsTheKernelReadIt(const Capture& capture, const Rotated& rotated) {
  AttentionProblem problem = rotated.problem;
  if (capture.q_rope) problem.q = capture.q_rope;
  if (capture.k_rope) problem.k = capture.k_rope;
  for (const auto& [name, tensor] : {std::pair("q_rope", &problem.q), {"k_rope", &problem.k}}) {
    if (tensor->dtype != problem.dtype) {
      throw InputError(name, std::string(DTypeName(tensor->dtype)),
                       fmt::format("{}: what attention reads, rounded", DTypeName(problem.dtype)));
    }
  }
  return problem;
}

Verdict JudgeBySchedule(const Capture& capture, const Schedule& schedule,
                        const replay::SpecialFunctions& functions,
                        const simd::EngineOptions& options) {
  RequireScheduled(capture.problem, schedule);
  Verdict verdict{"replay", schedule.name, {}, {}};
  const Rotated rotated = Rotate(capture.problem, capture.layout, Engine::kSimd, options);
  const AttentionProblem problem = AsTheKernelReadIt(capture, rotated);
  if (capture.q_rope) {
    verdict.outputs.push_back(VerdictOfBits("q_rope", capture.q_rope, rotated.problem.q));
  }
  if (capture.k_rope) {
    verdict.outputs.push_back(VerdictOfBits("k_rope", capture.k_rope, rotated.problem.k));
  }
  const bool same_type = !capture.o || capture.o.dtype == problem.dtype;
  if (!same_type) {
    verdict.not_judged.push_back(fmt::format("o ({}; the schedule rounds to {}, as q)",
                                             DTypeName(capture.o.dtype), DTypeName(problem.dtype)));
  }
  if ((capture.o && same_type) || capture.lse) {
    const simd::ScheduledAnswer answer =
        Scheduled(problem, schedule, functions, Engine::kSimd, options);
    if (capture.o && same_type) verdict.outputs.push_back(VerdictOfO(capture, answer));
    if (capture.lse) verdict.outputs.push_back(VerdictOfLse(capture, schedule, answer));
  }
  NoteAbsent(capture, verdict);
  constexpr const char* kWhyNot = "{} (a schedule is of the forward kernel alone)";
  for (const auto& [name, there] : {std::pair("dq", bool(capture.dq)),
                                    {"dk", bool(capture.dk)},
                                    {"dv", bool(capture.dv)},
                                    {"delta", bool(capture.delta)}}) {
    if (there) verdict.not_judged.push_back(fmt::format(fmt::runtime(kWhyNot), name));
  }
  Conclude(capture, verdict);
  return verdict;
}

}  // namespace bitanchor::tools
