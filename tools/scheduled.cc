#include "tools/scheduled.h"

#include <algorithm>

#include "lib/number/format.h"
#include "simd/parallel.h"

namespace bitanchor::tools {
namespace {

using replay::Sequence;

// The definition, a row a task.
simd::ScheduledAnswer ByDefinition(const AttentionProblem& problem, const Schedule& schedule,
                                   const replay::SpecialFunctions& functions,
                                   const simd::EngineOptions& options) {
  const AttentionShape& shape = problem.shape;
  const int64_t rows = shape.B * shape.Sq * shape.Hq;
  simd::ScheduledAnswer answer;
  answer.o_low.resize(static_cast<size_t>(rows * shape.D));
  answer.o_high = answer.o_low;
  answer.lse_low.resize(static_cast<size_t>(rows));
  answer.lse_high = answer.lse_low;
  const auto bits = [&](float x) {
    return problem.dtype == DType::kBF16 ? ToBF16(x).bits : ToF16(x).bits;
  };
  for (const Sequence& sequence : replay::SequencesOf(problem, schedule)) {
    const int64_t queries = static_cast<int64_t>(sequence.queries.size());
    simd::ParallelFor(options, queries * shape.Hq, [&](int64_t task, int) {
      const int64_t n = task / shape.Hq, h = task % shape.Hq;
      if (!sequence.answers[static_cast<size_t>(n)]) return;
      const int64_t i = sequence.queries[static_cast<size_t>(n)];
      const auto row = replay::AnswerOf(problem, schedule, functions, sequence, h, n);
      const int64_t at = ((sequence.b * shape.Sq + i) * shape.Hq + h) * shape.D;
      for (int64_t d = 0; d < shape.D; ++d) {
        answer.o_low[static_cast<size_t>(at + d)] = bits(row.o[static_cast<size_t>(d)].low);
        answer.o_high[static_cast<size_t>(at + d)] = bits(row.o[static_cast<size_t>(d)].high);
      }
      const size_t one = static_cast<size_t>((sequence.b * shape.Hq + h) * shape.Sq + i);
      answer.lse_low[one] = row.lse.low;
      answer.lse_high[one] = row.lse.high;
    });
  }
  return answer;
}

}  // namespace

simd::ScheduledAnswer Scheduled(const AttentionProblem& problem, const Schedule& schedule,
                                const replay::SpecialFunctions& functions, Engine engine,
                                const simd::EngineOptions& options) {
  if (engine == Engine::kSimd) {
    return simd::ScheduledAttention(problem, schedule, functions, options);
  }
  return ByDefinition(problem, schedule, functions, options);
}

float ScheduledNumber(DType dtype, uint16_t bits) {
  return dtype == DType::kBF16 ? ToF32(BF16{bits}) : ToF32(F16{bits});
}

int64_t PinnedElements(const simd::ScheduledAnswer& answer) {
  int64_t pinned = 0;
  for (size_t n = 0; n < answer.o_low.size(); ++n) pinned += answer.o_low[n] == answer.o_high[n];
  return pinned;
}

std::vector<bool> EmptyRows(const AttentionProblem& problem, const Schedule& schedule) {
  std::vector<bool> empty(static_cast<size_t>(problem.shape.B * problem.shape.Sq));
  for (const Sequence& sequence : replay::SequencesOf(problem, schedule)) {
    for (size_t n = 0; n < sequence.queries.size(); ++n) {
      if (!sequence.answers[n]) continue;
      const int64_t i = sequence.b * problem.shape.Sq + sequence.queries[n];
      empty[static_cast<size_t>(i)] = sequence.Visible(static_cast<int64_t>(n)) == 0;
    }
  }
  return empty;
}

}  // namespace bitanchor::tools
