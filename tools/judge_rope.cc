#include "tools/judge_rope.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "lib/exact/inverse_frequency_choice.h"
#include "lib/exact/rope_interval.h"
#include "lib/verdict/census.h"
#include "simd/parallel.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {
namespace {

using exact::RopeIntervals;
using exact::RotatedTensor;

constexpr int64_t kTokensPerTask = 64;

// body(census, b, s, intervals [H, D]) for every token of `in`, in parallel.
template <typename Body>
Census ForEachToken(const RopeIntervals& intervals, const TensorView& in,
                    const std::vector<int64_t>& positions, const simd::EngineOptions& options,
                    const Body& body) {
  const int64_t S = in.shape[1], tokens = in.shape[0] * S;
  return Judged<1>(options, (tokens + kTokensPerTask - 1) / kTokensPerTask, {Census(in.dtype)},
                   [&](int64_t task, std::array<Census, 1>& mine) {
                     std::vector<Interval> token;
                     const int64_t end = std::min(tokens, (task + 1) * kTokensPerTask);
                     for (int64_t n = task * kTokensPerTask; n < end; ++n) {
                       intervals.Token(in, n / S, n % S, positions[n], token);
                       body(mine[0], n / S, n % S, token);
                     }
                   })[0];
}

Census JudgeRotation(const RopeIntervals& intervals, const RotatedTensor& tensor,
                     const simd::EngineOptions& options) {
  const int64_t H = tensor.in.shape[2], D = tensor.in.shape[3];
  return ForEachToken(
      intervals, tensor.in, *tensor.positions, options,
      [&](Census& census, int64_t b, int64_t s, const std::vector<Interval>& token) {
        std::vector<float> got(D);
        for (int64_t h = 0; h < H; ++h) {
          for (int64_t d = 0; d < D; ++d) got[d] = tensor.answer.At(b, s, h, d);
          census.AddRow({b, s, h, 0}, got.data(), &token[h * D], D);
        }
      });
}

// How far from `want` an admissible value may be.
float Deviation(const Interval& interval, float want) {
  if (interval.low > interval.high) return std::numeric_limits<float>::infinity();
  const float off = std::max(interval.high - want, want - interval.low);
  return std::isnan(off) ? 0 : off;
}

RotatedInput RecipesRotation(const RopeIntervals& intervals, const TensorView& in,
                             const std::vector<int64_t>& positions,
                             const simd::EngineOptions& options) {
  RotatedInput out;
  out.centre = OwnedTensor(DType::kF32, in.shape, Layout::kBSHD);
  out.deviation = OwnedTensor(DType::kF32, in.shape, Layout::kBSHD);
  out.start = out.centre.view;
  const int64_t H = in.shape[2], D = in.shape[3];
  ForEachToken(intervals, in, positions, options,
               [&](Census&, int64_t b, int64_t s, const std::vector<Interval>& token) {
                 for (int64_t n = 0; n < H * D; ++n) {
                   const float want = static_cast<float>(token[n].want);
                   const float deviation = Deviation(token[n], want);
                   std::memcpy(out.centre.view.Row(b, s, n / D) + 4 * (n % D), &want, 4);
                   std::memcpy(out.deviation.view.Row(b, s, n / D) + 4 * (n % D), &deviation, 4);
                 }
               });
  return out;
}

std::vector<FrequencyChoice> ChooseFrequencies(const exact::InverseFrequencySearch& search,
                                               const simd::EngineOptions& options) {
  std::vector<std::optional<FrequencyChoice>> found(search.Groups());
  simd::ParallelFor(options, search.Groups(),
                    [&](int64_t group, int /*worker*/) { found[group] = search.Choose(group); });
  std::vector<FrequencyChoice> choices;
  for (const auto& choice : found) {
    if (choice) choices.push_back(*choice);
  }
  return choices;
}

}  // namespace

RotatedInputs JudgeRope(const Capture& capture, const Contract& contract,
                        const simd::EngineOptions& options, Verdict& verdict) {
  const AttentionProblem& p = capture.problem;
  const RopeConfig& config = *p.rope;
  const RopeRecipe& recipe = *FindRopeRecipe(config.recipe);
  const double libm_ulp = contract.libm_ulp;
  std::vector<RotatedTensor> rotated;
  std::vector<std::string> names;
  RotatedInputs out;
  const auto take = [&](const std::string& name, const TensorView& in, const TensorView& answer,
                        const std::vector<int64_t>& positions, RotatedInput& input) {
    if (answer) {
      rotated.push_back({in, answer, &positions});
      names.push_back(name);
      input.start = answer;
      return;
    }
    const RopeIntervals any(config, recipe, in.dtype, libm_ulp, exact::FrequencyFreedom(config));
    input = RecipesRotation(any, in, positions, options);
    verdict.not_judged.push_back(name + " (not in the capture)");
  };
  take("q_rope", p.q, capture.q_rope, p.q_positions, out.q);
  take("k_rope", p.k, capture.k_rope, p.k_positions, out.k);

  const auto judge = [&](const RopeIntervals& intervals) {
    std::vector<Census> judged;
    for (const RotatedTensor& tensor : rotated) {
      judged.push_back(JudgeRotation(intervals, tensor, options));
    }
    return judged;
  };
  std::vector<Census> judged = judge(RopeIntervals(config, recipe, p.dtype, libm_ulp));
  const bool failed = std::ranges::any_of(judged, [](const Census& c) { return c.Failed(); });
  if (failed && exact::FrequencyFreedom(config).size() > 1) {
    const exact::InverseFrequencySearch search(config, recipe, libm_ulp, rotated);
    verdict.inverse_frequencies = ChooseFrequencies(search, options);
    if (!verdict.inverse_frequencies.empty()) {
      judged = judge(RopeIntervals(config, recipe, p.dtype, libm_ulp,
                                   {exact::FrequencyUlps(config, verdict.inverse_frequencies)}));
    }
  }
  for (size_t n = 0; n < judged.size(); ++n) verdict.outputs.push_back({names[n], judged[n]});
  return out;
}

IntervalProblem AttentionOf(const Capture& capture, const RotatedInputs& rotated) {
  IntervalProblem attention{
      capture.problem, {}, {}, capture.o ? capture.o.dtype : capture.problem.dtype};
  if (!capture.problem.rope) return attention;
  attention.problem.q = rotated.q.start;
  attention.problem.k = rotated.k.start;
  attention.q_deviation = rotated.q.deviation.view;
  attention.k_deviation = rotated.k.deviation.view;
  attention.problem.rope.reset();
  return attention;
}

}  // namespace bitanchor::tools
