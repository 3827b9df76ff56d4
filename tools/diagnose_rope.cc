#include "tools/diagnose_rope.h"

#include <algorithm>
#include <cmath>

#include "lib/exact/rope_interval.h"
#include "tools/mistaken_rope.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

constexpr size_t kWrongRows = 48, kOtherRows = 16;

// One of q and k: what was rotated, the answer, and the rows [b, s, h] that are looked at.
struct Rotation {
  TensorView in, answer;
  const std::vector<int64_t>* positions;
  bool keys;
  std::vector<RowRecord> rows;
};

std::vector<RowRecord> SampledRows(const Census& census) {
  std::vector<RowRecord> wrong, others;
  for (const RowRecord& row : census.Rows()) (row.wrong > 0 ? wrong : others).push_back(row);
  std::vector<RowRecord> rows = Evenly(wrong, kWrongRows);
  for (const RowRecord& row : Evenly(others, kOtherRows)) rows.push_back(row);
  return rows;
}

std::vector<Rotation> Captured(const Capture& capture, const Verdict& verdict) {
  const AttentionProblem& p = capture.problem;
  std::vector<Rotation> all;
  for (const OutputVerdict& output : verdict.outputs) {
    if (output.name == "q_rope")
      all.push_back({p.q, capture.q_rope, &p.q_positions, false, SampledRows(output.census)});
    if (output.name == "k_rope")
      all.push_back({p.k, capture.k_rope, &p.k_positions, true, SampledRows(output.census)});
  }
  return all;
}

// Counts of elements, as Explained's.
struct Count {
  int64_t inside = 0, judged = 0, wrong_inside = 0, wrong = 0;

  double Share() const {
    if (judged == 0 || wrong == 0) return 0;
    return std::min(static_cast<double>(inside) / static_cast<double>(judged),
                    static_cast<double>(wrong_inside) / static_cast<double>(wrong));
  }
};

// How far a mistaken kernel's own rounding and its libm may take it where no set of admissible
// values is at hand: a unit in the last place of each product.
double Freedom(const TensorView& in, const RowRecord& row, const RopeConfig& config, int64_t d) {
  double size = 0;
  for (int64_t i = 0; i < config.rotary_dim / 2; ++i) {
    const auto [d1, d2] = PairDimensions(config, i);
    if (d != d1 && d != d2) continue;
    size = std::fabs(in.At(row.b, row.s, row.h, d1)) + std::fabs(in.At(row.b, row.s, row.h, d2));
  }
  return 2 * UnitRoundoff(in.dtype) * size;
}

void CountRows(const Rotation& rotation, const RopeMistake& mistake, const TensorView& mistaken,
               const exact::RopeIntervals& right, const exact::RopeIntervals* wrong, Count& count) {
  const int64_t S = rotation.in.shape[1], D = rotation.in.shape[3];
  const auto& positions = rotation.keys ? mistake.k_positions : mistake.q_positions;
  const TensorView& in = rotation.keys ? mistake.k : mistake.q;
  std::vector<Interval> want, may;
  for (const RowRecord& row : rotation.rows) {
    const int64_t token = row.b * S + row.s;
    right.Token(rotation.in, row.b, row.s, (*rotation.positions)[token], want);
    if (wrong != nullptr) wrong->Token(in, row.b, row.s, positions[token], may);
    for (int64_t d = 0; d < D; ++d) {
      const float got = rotation.answer.At(row.b, row.s, row.h, d);
      const double off = got - mistaken.At(row.b, row.s, row.h, d);
      const bool is_wrong = !Admits(want[row.h * D + d], got);
      const bool inside = wrong != nullptr ? Admits(may[row.h * D + d], got)
                                           : std::fabs(off) <= Freedom(in, row, mistake.config, d);
      ++count.judged;
      count.inside += inside;
      count.wrong += is_wrong;
      count.wrong_inside += is_wrong && inside;
    }
  }
}

double ShareOfZeros(const std::vector<Rotation>& rotations) {
  int64_t zeros = 0, all = 0;
  for (const Rotation& rotation : rotations) {
    for (const RowRecord& row : rotation.rows) {
      for (int64_t d = 0; d < rotation.in.shape[3]; ++d, ++all)
        zeros += rotation.answer.At(row.b, row.s, row.h, d) == 0;
    }
  }
  return all == 0 ? 0 : static_cast<double>(zeros) / static_cast<double>(all);
}

}  // namespace

std::vector<Finding> ExplainRotation(const Capture& capture, const Contract& contract,
                                     const Verdict& verdict, const simd::EngineOptions& options) {
  const AttentionProblem& p = capture.problem;
  const std::vector<Rotation> rotations = Captured(capture, verdict);
  const exact::RopeIntervals right(*p.rope, *FindRopeRecipe(p.rope->recipe), p.dtype,
                                   contract.libm_ulp);
  std::vector<Finding> findings = {{"zeros", "", ShareOfZeros(rotations)}};
  std::vector<RopeMistake> mistakes = RopeMistakes(p);
  for (RopeMistake& base : OtherBases(p)) mistakes.push_back(std::move(base));
  for (const RopeMistake& mistake : mistakes) {
    const MistakenRotation rotated = Rotate(mistake, options);
    const bool plain = mistake.times == 1 && mistake.direction == RopeDirection::kForward;
    const exact::RopeIntervals wrong(mistake.config, mistake.recipe, p.dtype, contract.libm_ulp,
                                     exact::FrequencyFreedom(mistake.config));
    Count count;
    for (const Rotation& rotation : rotations) {
      CountRows(rotation, mistake, rotation.keys ? rotated.k.view : rotated.q.view, right,
                plain ? &wrong : nullptr, count);
    }
    findings.push_back({mistake.id, mistake.where, count.Share()});
  }
  return findings;
}

}  // namespace bitanchor::tools
