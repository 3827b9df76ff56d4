#include "tools/replay_part.h"

#include <algorithm>
#include <cmath>

#include "lib/replay/admissible.h"
#include "simd/scheduled_attention.h"
#include "tools/scheduled.h"

namespace bitanchor::tools {
namespace {

// Multiplications and additions: about half a second of one core with AVX-512.
constexpr double kMostOperations = 6e9;

// Of o and lse, in their order: how many elements the answer admits, and how many it pins.
struct Compared {
  int64_t elements = 0, inside = 0, pinned = 0;

  void Add(float got, float low, float high) {
    const replay::Admissible set = {low, high};
    ++elements;
    inside += set.Contains(got);
    pinned += set.IsPinned();
  }
};

Compared CompareAll(const Capture& capture, const AttentionProblem& part,
                    const simd::ScheduledAnswer& answer) {
  const AttentionShape& shape = part.shape;
  Compared all;
  size_t at = 0;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t i = 0; i < shape.Sq; ++i) {
      for (int64_t h = 0; h < shape.Hq; ++h) {
        for (int64_t d = 0; d < shape.D; ++d, ++at) {
          all.Add(capture.o.At(b, i, h, d), ScheduledNumber(part.dtype, answer.o_low[at]),
                  ScheduledNumber(part.dtype, answer.o_high[at]));
        }
      }
    }
  }
  if (!HasNaturalLse(capture)) return all;
  at = 0;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t h = 0; h < shape.Hq; ++h) {
      for (int64_t i = 0; i < shape.Sq; ++i, ++at) {
        if (std::isinf(answer.lse_low[at])) continue;  // no key: each capture says so in its way
        all.Add(capture.lse.At(b, h, i), answer.lse_low[at], answer.lse_high[at]);
      }
    }
  }
  return all;
}

}  // namespace

bool HasNaturalLse(const Capture& capture) {
  return capture.lse && capture.lse_spec.base == LseBase::kE && capture.lse_spec.scaled;
}

std::optional<AttentionProblem> PartToReplay(const AttentionProblem& problem,
                                             const std::vector<replay::Sequence>& sequences) {
  double pairs = 0;
  for (const replay::Sequence& sequence : sequences) {
    for (size_t n = 0; n < sequence.queries.size(); ++n) {
      pairs += static_cast<double>(sequence.Visible(static_cast<int64_t>(n)));
    }
  }
  const int64_t group = problem.shape.Hq / problem.shape.Hkv;
  const double of_group =
      4 * pairs * static_cast<double>(problem.shape.D) * static_cast<double>(group);
  const double groups =
      std::min(static_cast<double>(problem.shape.Hkv), kMostOperations / of_group);
  AttentionProblem part = problem;
  if (groups >= 1) {
    part.shape.Hkv = static_cast<int64_t>(groups);
    part.shape.Hq = part.shape.Hkv * group;
  } else if (of_group / static_cast<double>(group) <= kMostOperations) {
    part.shape.Hkv = part.shape.Hq = 1;
  } else {
    return std::nullopt;
  }
  part.q.shape[2] = part.shape.Hq;
  part.k.shape[2] = part.v.shape[2] = part.shape.Hkv;
  return part;
}

ReplayStanding StandingOf(const Capture& capture, const AttentionProblem& part,
                          const Schedule& schedule, const replay::SpecialFunctions& functions,
                          const replay::SpecialFunctions& rounded,
                          const simd::EngineOptions& options) {
  const Compared by_sets =
      CompareAll(capture, part, simd::ScheduledAttention(part, schedule, functions, options));
  const Compared by_rounded =
      CompareAll(capture, part, simd::ScheduledAttention(part, schedule, rounded, options));
  return {part.shape.B * part.shape.Sq * part.shape.Hq, by_sets.elements, by_sets.inside,
          by_sets.pinned, by_rounded.inside};
}

}  // namespace bitanchor::tools
