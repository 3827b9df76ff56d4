#include "tools/diagnose.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "lib/exact/attention_mistakes.h"
#include "lib/recipe/mistake.h"
#include "tools/diagnose_dimensions.h"
#include "tools/diagnose_dropout.h"
#include "tools/diagnose_intervals.h"
#include "tools/diagnose_mask_value.h"
#include "tools/diagnose_place.h"
#include "tools/diagnose_plain.h"
#include "tools/diagnose_rope.h"
#include "tools/diagnose_schedule.h"
#include "tools/finding.h"
#include "tools/hypothesis.h"

namespace bitanchor::tools {
namespace {

using exact::MistakenAttention;

// Of the elements; where fewer are wrong and o is biased, roundings are asked first.
constexpr double kFewWrong = 0.01;
constexpr size_t kMostCauses = 4;

Cause Unknown(const Verdict& verdict) {
  const std::string stage(verdict.FirstOut());
  std::string where = fmt::format("the first stage out is {}", stage);
  for (const std::string& place : verdict.signatures) where += "; " + place;
  const OutputVerdict* output = Find(verdict, stage);
  if (output != nullptr && verdict.signatures.empty() && !output->census.worst.empty()) {
    const auto [b, s, h, d] = output->census.worst[0].index;
    where += fmt::format("; its worst element is of batch {}, token {}, head {}", b, s, h);
    if (d >= 0) where += fmt::format(", dimension {}", d);
  }
  return CauseOf("unknown", where, 0);
}

// Best first, those of a percent by the table's order; each id once. `unknown` where none explains
// the answer.
std::vector<Cause> Ranked(const Verdict& verdict, std::vector<Finding> findings) {
  const auto percent = [](const Finding& finding) { return std::floor(finding.explains * 100); };
  std::stable_sort(findings.begin(), findings.end(), [&](const Finding& x, const Finding& y) {
    if (Explains(x) != Explains(y)) return Explains(x);
    if (percent(x) != percent(y)) return percent(x) > percent(y);
    if (x.id != y.id) return MistakeRank(x.id) < MistakeRank(y.id);
    return x.explains > y.explains;
  });
  std::vector<Cause> causes;
  if (findings.empty() || !Explains(findings.front())) causes.push_back(Unknown(verdict));
  std::set<std::string> told;
  for (const Finding& finding : findings) {
    if (causes.size() == kMostCauses || finding.explains <= kLeastShare) break;
    if (told.insert(finding.id).second)
      causes.push_back(CauseOf(finding.id, finding.where, finding.explains));
  }
  return causes;
}

// Of no kernel that the table specifies: for when none of those explains the answer.
std::vector<Finding> OtherFindings(const Capture& capture, const Contract& contract,
                                   const AttentionStart& start, const Verdict& verdict) {
  std::vector<Finding> findings = PlaceFindings(capture, start, verdict);
  for (const auto& finding :
       {DimensionFinding(capture, start, verdict), DropoutFinding(capture, start, verdict),
        MaskValueFinding(capture, contract, start, verdict)}) {
    if (finding) findings.push_back(*finding);
  }
  return findings;
}

// Roundings and schedules, from which intervals cannot tell right ones.
std::vector<Finding> ScheduleFindings(const Capture& capture, const Contract& contract,
                                      const AttentionStart& start, const Verdict& verdict,
                                      const RowsToTry& rows) {
  FailedOutputs failed;
  for (const OutputVerdict& output : verdict.outputs) {
    if (output.name == "o") failed.o = output.Failed();
    if (output.name == "lse") failed.lse = output.Failed();
  }
  std::vector<MistakenAttention> others;
  for (const MistakenAttention& kernel : exact::AttentionMistakes(start.attention(), true)) {
    if (FindMistake(kernel.id)->rounding && !kernel.weights && !kernel.output)
      others.push_back(kernel);
  }
  std::vector<Hypothesis> rotations;  // that keep what others' q and k lie in
  for (const RopeMistake& mistake : RotationMistakes(capture)) {
    if (!FindMistake(mistake.id)->rounding) continue;
    rotations.push_back(RotationHypothesis(capture, contract, start, mistake));
    others.push_back(rotations.back().kernel);
  }
  return ExplainSchedule(capture, contract, start, failed, rows.all, others);
}

std::vector<Cause> ForwardCauses(const Capture& capture, const Contract& contract,
                                 const Verdict& verdict, const simd::EngineOptions& options) {
  const OutputVerdict* o = Find(verdict, "o");
  const AttentionStart start(capture, contract, options);
  const std::vector<Cause> plain = PlainCauses(capture, start, verdict);
  if (!plain.empty()) return plain;
  const RowsToTry rows = RowsToTryOf(verdict, start.problem().problem);
  using Step = std::function<std::vector<Finding>()>;
  std::vector<Step> steps = {
      [&] { return ExplainByIntervals(capture, contract, start, rows); },
      [&] { return OtherFindings(capture, contract, start, verdict); },
      [&] { return ScheduleFindings(capture, contract, start, verdict, rows); },
  };
  if (o != nullptr && o->Biased() &&
      static_cast<double>(o->census.outside) <
          kFewWrong * static_cast<double>(o->census.elements())) {
    std::rotate(steps.begin(), steps.end() - 1, steps.end());
  }
  std::vector<Finding> findings;
  for (const Step& step : steps) {
    const std::vector<Finding> more = step();
    findings.insert(findings.end(), more.begin(), more.end());
    if (std::any_of(findings.begin(), findings.end(), Explains)) break;
  }
  return Ranked(verdict, findings);
}

}  // namespace

std::vector<Cause> Diagnose(const Capture& capture, const Contract& contract,
                            const Verdict& verdict, const simd::EngineOptions& options) {
  simd::EngineOptions quiet = options;
  quiet.progress = nullptr;
  const std::string_view stage = verdict.FirstOut();
  if (stage == "q_rope" || stage == "k_rope") {
    return Ranked(verdict, ExplainRotation(capture, contract, verdict, quiet));
  }
  if (stage == "o" || stage == "lse") {
    return ForwardCauses(capture, contract, verdict, quiet);
  }
  return {Unknown(verdict)};
}

}  // namespace bitanchor::tools
