#include "tools/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/exact/attention_interval.h"
#include "lib/problem/indistinct.h"
#include "lib/tensor/error.h"
#include "lib/verdict/place.h"
#include "tools/compute.h"
#include "tools/judge_gradients.h"
#include "tools/judge_rope.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {
namespace {

// In units of u m_d. Weights that are lost to their type come to half of it at most where bias is
// measured (lib/exact/attention_interval.cc).
constexpr double kLeastEffect = 0x1p-12;

void JudgeAttention(const Capture& capture, const Contract& contract,
                    const IntervalProblem& problem, const SampleOptions& sample,
                    const simd::EngineOptions& options, Verdict& verdict) {
  const std::vector<RowBlock> blocks = RowBlocks(problem.problem.shape.B, problem.problem.shape.Hq,
                                                 problem.problem.shape.Sq, sample);
  const int64_t D = problem.problem.shape.D, Skv = problem.problem.shape.Skv;
  const auto census = Judged<2>(
      options, static_cast<int64_t>(blocks.size()), {Census(problem.o_dtype), Census(DType::kF32)},
      [&](int64_t task, std::array<Census, 2>& mine) {
        const RowBlock& block = blocks[task];
        IntervalBlock want;
        exact::AttentionIntervals(problem, contract, block.b, block.h, block.s0, block.rows, want);
        std::vector<float> got(D);
        for (int64_t n = 0; n < block.rows; ++n) {
          const int64_t i = block.s0 + n;
          const ElementIndex index = {block.b, i, block.h, 0};
          if (capture.o) {
            for (int64_t d = 0; d < D; ++d) got[d] = capture.o.At(block.b, i, block.h, d);
            mine[0].AddRow(index, got.data(), &want.o[n * D], D);
          }
          if (capture.lse) {
            Interval& interval = want.lse[n];
            const bool empty = OfEmptyRow(interval);
            WidenForConversion(capture.lse_spec, interval);
            const float lse = NaturalLse(capture.lse_spec, capture.lse.At(block.b, block.h, i),
                                         problem.problem.softmax_scale, empty);
            mine[1].AddRow({block.b, i, block.h, -1}, &lse, &interval, 1);
          }
        }
      });
  if (capture.o) verdict.outputs.push_back(VerdictOfO(contract, Skv, census[0]));
  if (capture.lse) verdict.outputs.push_back(VerdictOfLse(contract, Skv, census[1]));
}

constexpr struct {
  const char* name;
  TensorView Capture::*got;
  OwnedTensor Gradients::*want;
} kGradients[] = {{"dq", &Capture::dq, &Gradients::dq},
                  {"dk", &Capture::dk, &Gradients::dk},
                  {"dv", &Capture::dv, &Gradients::dv}};

// Rows of a computed tensor as intervals of one value each.
void ReplayRows(const TensorView& got, const TensorView& want, Census& census) {
  const auto [B, S, H, D] = want.shape;
  std::vector<float> row(D);
  std::vector<Interval> intervals(D);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t d = 0; d < D; ++d) {
          const float value = want.At(b, s, h, d);
          row[d] = got.At(b, s, h, d);
          intervals[d] = {value, value, value};
        }
        census.AddRow({b, s, h, 0}, row.data(), intervals.data(), D);
      }
    }
  }
}

void ReplayLse(const Capture& capture, const std::vector<float>& lse, Verdict& verdict) {
  const LseSpec& spec = capture.lse_spec;
  if (spec.base != LseBase::kE || !spec.scaled) {
    verdict.not_judged.push_back(
        "lse (its base or scale is not the recipe's: there are no bits to compare)");
    return;
  }
  const AttentionShape& shape = capture.problem.shape;
  Census census(DType::kF32, Strictness::kBits);
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t h = 0; h < shape.Hq; ++h) {
      for (int64_t i = 0; i < shape.Sq; ++i) {
        float want = lse[(b * shape.Hq + h) * shape.Sq + i];
        if (want == -std::numeric_limits<float>::infinity()) want = spec.empty;
        const float got = capture.lse.At(b, h, i);
        const Interval interval = {want, want, want};
        census.AddRow({b, i, h, -1}, &got, &interval, 1);
      }
    }
  }
  verdict.outputs.push_back({"lse", census});
}

}  // namespace

void RequireAnswer(const Capture& capture, const std::string& path) {
  if (capture.HasAnswer()) return;
  throw InputError(path, "no answer", "at least one of o, lse, q_rope, k_rope, dq, dk, dv, delta");
}

OutputVerdict VerdictOfO(const Contract& contract, int64_t Skv, const Census& census) {
  const double u = UnitRoundoff(census.dtype());
  const BiasFloor floor = {contract.BiasFloor(Skv, u), kLeastEffect};
  return {"o", census, FindBias(census.bias, floor)};
}

OutputVerdict VerdictOfLse(const Contract& contract, int64_t Skv, const Census& census) {
  constexpr Witness kOfLse[] = {Witness::kOffset, Witness::kScale};
  const double floor = contract.LseBiasFloor(Skv) / UnitRoundoff(DType::kF32);
  return {"lse", census, FindBias(census.bias, {0, floor}, kOfLse)};
}

OutputVerdict VerdictOfBits(const std::string& name, const TensorView& got,
                            const TensorView& want) {
  Census census(got.dtype, Strictness::kBits);
  ReplayRows(got, want, census);
  return {name, census};
}

void NoteAbsent(const Capture& capture, Verdict& verdict) {
  if (!capture.o) verdict.not_judged.push_back("o (not in the capture)");
  if (!capture.lse) verdict.not_judged.push_back("lse (not in the capture)");
}

Verdict JudgeByContract(const Capture& capture, const Contract& contract,
                        const SampleOptions& sample, const simd::EngineOptions& options) {
  Verdict verdict{"contract", std::string(contract.name), {}, {}};
  RotatedInputs rotated;
  if (capture.problem.rope) rotated = JudgeRope(capture, contract, options, verdict);
  const IntervalProblem problem = AttentionOf(capture, rotated);
  if (capture.o || capture.lse)
    JudgeAttention(capture, contract, problem, sample, options, verdict);
  NoteAbsent(capture, verdict);
  JudgeGradients(capture, contract, problem, sample, options, verdict);
  Conclude(capture, verdict);
  return verdict;
}

Verdict JudgeByReplay(const Capture& capture, const AttentionRecipe& recipe,
                      const simd::EngineOptions& options) {
  Verdict verdict{"replay", std::string(recipe.name), {}, {}};
  Rotated rotated = Rotate(capture.problem, capture.layout, Engine::kSimd, options);
  const auto replay = [&](const std::string& name, const TensorView& got, const TensorView& want) {
    verdict.outputs.push_back(VerdictOfBits(name, got, want));
  };
  if (capture.q_rope) {
    replay("q_rope", capture.q_rope, rotated.problem.q);
    rotated.problem.q = capture.q_rope;  // each stage on its own
  }
  if (capture.k_rope) {
    replay("k_rope", capture.k_rope, rotated.problem.k);
    rotated.problem.k = capture.k_rope;
  }
  const bool backward = capture.dq || capture.dk || capture.dv;
  simd::AttentionRows rows;
  simd::AttentionRows* kept = nullptr;  // the forward pass, where both passes are asked for
  if (capture.o || capture.lse) {
    if (backward) kept = &rows;
    const DType o_dtype = capture.o ? capture.o.dtype : capture.problem.dtype;
    const Answer answer =
        Attend(rotated.problem, recipe, capture.layout, Engine::kSimd, options, o_dtype, kept);
    if (capture.o) replay("o", capture.o, answer.o.view);
    if (capture.lse) ReplayLse(capture, answer.lse, verdict);
  }
  if (backward) {
    const Gradients want = Differentiate(capture.problem, rotated, recipe, capture.layout,
                                         Engine::kSimd, options, capture.dout, kept);
    for (const auto& [name, member, want_member] : kGradients) {
      const TensorView& got = capture.*member;
      if (!got) continue;
      const TensorView answer = (want.*want_member).view;
      if (got.dtype == answer.dtype) {
        replay(name, got, answer);
      } else {
        verdict.not_judged.push_back(fmt::format("{} ({}; replay rounds to {}, as q)", name,
                                                 DTypeName(got.dtype), DTypeName(answer.dtype)));
      }
    }
  }
  NoteAbsent(capture, verdict);
  Conclude(capture, verdict);
  return verdict;
}

void Conclude(const Capture& capture, Verdict& verdict) {
  const bool rope_alone = !capture.o && !capture.lse && !capture.dout;
  verdict.cannot_tell =
      rope_alone ? WhyRopeIndistinct(capture.problem) : WhyIndistinct(capture.problem);
  for (OutputVerdict& output : verdict.outputs) {
    const bool of_keys = output.name == "dk" || output.name == "dv" || output.name == "k_rope";
    const Side side = of_keys ? Side::kKeys : Side::kQueries;
    output.by = Breakdowns(output.census, capture.problem.mask, side);
    const std::string where = Signature(output.census, capture.problem.mask, side);
    if (!where.empty()) verdict.signatures.push_back(output.name + ": " + where);
  }
}

}  // namespace bitanchor::tools
