#include "tools/diagnose.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <utility>

#include "lib/exact/attention_mistakes.h"
#include "lib/recipe/mistake.h"
#include "tools/diagnose_dimensions.h"
#include "tools/diagnose_dropout.h"
#include "tools/diagnose_mask_value.h"
#include "tools/diagnose_place.h"
#include "tools/diagnose_plain.h"
#include "tools/diagnose_rope.h"
#include "tools/diagnose_schedule.h"
#include "tools/find_block.h"
#include "tools/finding.h"
#include "tools/hypothesis.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::MistakenAttention;
using exact::RowPlace;

constexpr size_t kWrongRows = 32, kOtherRows = 32;
constexpr size_t kFirstRows = 6;     // on which most hypotheses are found not to hold
constexpr double kFirstShare = 0.5;  // that they must explain of those
// Of the elements; where fewer are wrong and o is biased, roundings are asked first.
constexpr double kFewWrong = 0.01;
constexpr size_t kMostCauses = 4;

// Tries mistakes on the forward pass after RoPE, and on RoPE where the capture does not hold what
// it made.
class ForwardDiagnosis {
 public:
  ForwardDiagnosis(const Capture& capture, const Contract& contract, const Verdict& verdict,
                   const simd::EngineOptions& options)
      : capture_(capture),
        contract_(contract),
        start_(capture, contract, options),
        wrong_rows_(WrongRows(verdict)) {
    const std::vector<RowPlace> some = Evenly(wrong_rows_, kWrongRows);
    first_ = SampleOf(capture_, start_, Evenly(some, kFirstRows));
    std::vector<RowPlace> rows = some;
    for (const RowPlace& place : TellingRows(start_.problem().problem, kOtherRows)) {
      const bool there = std::ranges::any_of(some, [&](const RowPlace& other) {
        return place.b == other.b && place.h == other.h && place.i == other.i;
      });
      if (!there) rows.push_back(place);
    }
    all_ = SampleOf(capture_, start_, rows);
  }

  std::vector<Finding> ByIntervals() {
    if (wrong_rows_.empty()) return {};
    for (const MistakenAttention& kernel : exact::AttentionMistakes(start_.attention(), true)) {
      if (!FindMistake(kernel.id)->rounding) TryOne(Of(kernel));
    }
    TryCaptureMistakes();
    TryRotations();
    TryStarts();
    TryWindows();
    for (const int64_t block_keys : {64, 128, 32, 16}) {
      TryTiles(block_keys);
      TryBlocks(block_keys);
    }
    TryHeads();
    return findings_;
  }

  // Roundings and schedules, from which intervals cannot tell right ones.
  std::vector<Finding> BySchedule(const Verdict& verdict) const {
    FailedOutputs failed;
    for (const OutputVerdict& output : verdict.outputs) {
      if (output.name == "o") failed.o = output.Failed();
      if (output.name == "lse") failed.lse = output.Failed();
    }
    std::vector<RowPlace> rows = Evenly(wrong_rows_, kFirstRows);
    for (const RowPlace& place : all_.rows) rows.push_back(place);
    std::vector<MistakenAttention> others;
    for (const MistakenAttention& kernel : exact::AttentionMistakes(start_.attention(), true)) {
      if (FindMistake(kernel.id)->rounding && !kernel.weights && !kernel.output)
        others.push_back(kernel);
    }
    std::vector<Hypothesis> rotations;  // that keep what others' q and k lie in
    for (const RopeMistake& mistake : RotationMistakes()) {
      if (!FindMistake(mistake.id)->rounding) continue;
      rotations.push_back(OfRotation(mistake));
      others.push_back(rotations.back().kernel);
    }
    return ExplainSchedule(capture_, contract_, start_, failed, rows, others);
  }

 private:
  Hypothesis Of(const MistakenAttention& kernel) const {
    return {kernel.id, kernel.where, kernel, contract_};
  }

  void TryOne(Hypothesis hypothesis) {
    if (Try(capture_, hypothesis, first_, start_.options()).Share() < kFirstShare) return;
    const Explained explained = Try(capture_, hypothesis, all_, start_.options());
    findings_.push_back({hypothesis.id, hypothesis.where, explained.Share()});
  }

  void TryCaptureMistakes() {
    MistakenAttention right;
    right.attention = start_.attention();
    if (capture_.lse) {
      for (const LseBase base : {LseBase::kE, LseBase::k2}) {
        for (const bool scaled : {true, false}) {
          const LseSpec& own = capture_.lse_spec;
          if (base == own.base && scaled == own.scaled) continue;
          Hypothesis stated = Of(right);
          stated.id = base == own.base ? "lse-unscaled" : "lse-base";
          stated.where = fmt::format("base {}, {}", base == LseBase::kE ? "e" : "2",
                                     scaled ? "scaled" : "not scaled");
          stated.lse_spec = LseSpec{base, scaled, own.empty};
          TryOne(stated);
        }
      }
    }
    const AttentionProblem& p = start_.problem().problem;
    const DType dtype = start_.problem().o_dtype;
    if (capture_.o && dtype != DType::kF32) {
      auto other = std::make_shared<IntervalProblem>(start_.problem());
      other->o_dtype = dtype == DType::kBF16 ? DType::kF16 : DType::kBF16;
      Hypothesis misread = Of(right);
      misread.id = "dtype-misread";
      misread.where = fmt::format("o is {}", DTypeName(other->o_dtype));
      misread.other_16_bits = true;
      misread.kernel.attention = std::move(other);
      TryOne(misread);
    }
    const auto [B, Sq, Skv, Hq, Hkv, D] = p.shape;
    if (p.mask.spec.rule != MaskRule::kFull || capture_.problem.rope || Sq % Skv != 0 ||
        capture_.layout == Layout::kTHD || (capture_.lse && Sq != Hq)) {
      return;
    }
    auto exchanged = std::make_shared<IntervalProblem>(start_.problem());
    AttentionProblem& q = exchanged->problem;
    q.shape = {B, Hq, Hkv, Sq, Skv, D};
    q.mask.Sq = Hq;
    q.mask.Skv = Hkv;
    for (TensorView* view : {&q.q, &q.k, &q.v}) {
      std::swap(view->shape[1], view->shape[2]);
      std::swap(view->stride[1], view->stride[2]);
    }
    Hypothesis misread = Of(right);
    misread.id = "layout-misread";
    misread.where = capture_.layout == Layout::kBSHD ? "they are bhsd" : "they are bshd";
    misread.kernel.attention = std::move(exchanged);
    misread.kernel.misread = exact::Misread::kExchanged;
    TryOne(misread);
  }

  std::vector<RopeMistake> RotationMistakes() const {
    if (!capture_.problem.rope || (capture_.q_rope && capture_.k_rope)) return {};
    return RopeMistakes(capture_.problem);
  }

  // The freedom of libm is as large in a mistaken rotation as in the right one.
  Hypothesis OfRotation(const RopeMistake& mistake) const {
    auto rotation = std::make_shared<const MistakenRotation>(Rotate(mistake, start_.options()));
    auto understood = std::make_shared<IntervalProblem>(start_.problem());
    if (!capture_.q_rope) understood->problem.q = rotation->q.view;
    if (!capture_.k_rope) {
      understood->problem.k = rotation->k.view;
      understood->problem.v = mistake.v;
    }
    Hypothesis hypothesis = Of(exact::Mistaken(std::move(understood), mistake.id, mistake.where));
    hypothesis.rotation = std::move(rotation);
    return hypothesis;
  }

  void TryRotations() {
    const std::vector<RopeMistake> mistakes = RotationMistakes();
    for (const RopeMistake& mistake : mistakes) {
      if (!FindMistake(mistake.id)->rounding) TryOne(OfRotation(mistake));
    }
    if (mistakes.empty() || HasCause()) return;
    for (const RopeMistake& mistake : OtherBases(capture_.problem)) TryOne(OfRotation(mistake));
  }

  // A start that moved makes the token beside it wrong.
  void TryStarts() {
    const Mask& mask = start_.problem().problem.mask;
    std::set<std::pair<int64_t, int64_t>> wrong;
    for (const RowPlace& row : wrong_rows_) wrong.insert({row.b, row.i + mask.Offset()});
    for (int64_t b = 0; b < mask.B; ++b) {
      for (const int64_t start : exact::DocumentStarts(mask, b)) {
        for (const int64_t by : {-1, 1}) {
          if (wrong.count({b, by > 0 ? start : start - 1}) == 0) continue;
          const auto moved = exact::WithStartMoved(start_.attention(), by, b, start);
          if (moved) TryOne(Of(*moved));
        }
      }
    }
  }

  // A window shows from the first query that it hides a key from.
  void TryWindows() {
    const Mask& mask = start_.problem().problem.mask;
    if (wrong_rows_.empty()) return;
    std::set<int64_t> windows;
    if (!mask.spec.window_keys) {
      int64_t first = wrong_rows_.front().i;
      for (const RowPlace& row : wrong_rows_) first = std::min(first, row.i);
      first += mask.Offset();
      for (const int64_t keys : {first - 1, first, first + 1}) windows.insert(keys);
      for (int64_t keys = 16; keys < mask.Skv; keys *= 2) {
        for (const int64_t by : {-1, 0, 1}) windows.insert(keys + by);
      }
    } else {
      for (const int64_t by : {-2, 2}) windows.insert(*mask.spec.window_keys + by);
    }
    for (const int64_t keys : windows) {
      if (keys >= 1 && keys < mask.Skv) TryOne(Of(exact::WithWindow(start_.attention(), keys)));
    }
  }

  void TryTiles(int64_t tile_keys) {
    if (tile_keys == exact::kBlockKeys) return;  // among AttentionMistakes
    for (const MistakenAttention& kernel :
         exact::WithTileKeyDropped(start_.attention(), tile_keys)) {
      TryOne(Of(kernel));
    }
  }

  void TryBlocks(int64_t block_keys) {
    if (!capture_.o || start_.problem().problem.shape.Skv <= block_keys || HasCause()) return;
    for (const MistakenAttention& kernel :
         LikeliestBlocks(start_.attention(), capture_.o, first_.rows, block_keys)) {
      TryOne(Of(kernel));
    }
    if (!capture_.problem.rope || capture_.k_rope) return;
    auto rotation = std::make_shared<MistakenRotation>();
    rotation->k = RotatedFromBefore(capture_.problem, block_keys, start_.options());
    for (const MistakenAttention& kernel : LikeliestBlocks(
             start_.attention(), capture_.o, first_.rows, block_keys, rotation->k.view)) {
      Hypothesis hypothesis = Of(kernel);
      hypothesis.rotation = rotation;
      TryOne(std::move(hypothesis));
    }
  }

  // Which key head each query head may have read, and whose answer may stand at each.
  void TryHeads() {
    const AttentionShape& shape = start_.problem().problem.shape;
    if (HasCause() || !capture_.o || shape.Hq == 1 || shape.Hq > 64) return;
    MistakenAttention mapped;
    mapped.id = "heads-mapped";
    mapped.attention = start_.attention();
    MistakenAttention permuted = mapped;
    permuted.id = "heads-permuted";
    for (int64_t h = 0; h < shape.Hq; ++h) {
      mapped.key_heads.push_back(shape.KeyHead(h));
      permuted.answer_heads.push_back(h);
    }
    Choose(shape.Hkv, mapped, mapped.key_heads);
    Choose(shape.Hq, permuted, permuted.answer_heads);
    mapped.where = fmt::format("query heads read key heads {}", fmt::join(mapped.key_heads, ", "));
    permuted.where =
        fmt::format("heads hold the answers of {}", fmt::join(permuted.answer_heads, ", "));
    if (shape.Hkv > 1) TryOne(Of(mapped));
    TryOne(Of(permuted));
  }

  // Sets heads[h], a part of `kernel`, to the one of `n` that explains a wrong row of head h best.
  void Choose(int64_t n, MistakenAttention& kernel, std::vector<int64_t>& heads) const {
    for (size_t h = 0; h < heads.size(); ++h) {
      std::vector<RowPlace> rows;
      for (const RowPlace& row : wrong_rows_) {
        if (row.h == static_cast<int64_t>(h)) rows.push_back(row);
      }
      if (rows.empty()) continue;
      const Sample sample = SampleOf(capture_, start_, {rows.back()});
      double best = 0;
      int64_t chosen = heads[h];
      for (int64_t other = 0; other < n; ++other) {
        heads[h] = other;
        const double share = Try(capture_, Of(kernel), sample, start_.options()).Share();
        if (share > best) {
          best = share;
          chosen = other;
        }
      }
      heads[h] = chosen;
    }
  }

  bool HasCause() const {
    return std::ranges::any_of(
        findings_, [](const Finding& finding) { return finding.explains >= kExplains; });
  }

  const Capture& capture_;
  const Contract& contract_;
  const AttentionStart start_;
  const std::vector<RowPlace> wrong_rows_;
  Sample first_, all_;
  std::vector<Finding> findings_;
};

bool Explains(const Finding& finding) { return finding.explains >= kExplains; }

// Best first, those of a percent by the table's order; each id once.
std::vector<Cause> Ranked(std::vector<Finding> findings) {
  const auto percent = [](const Finding& finding) { return std::floor(finding.explains * 100); };
  std::stable_sort(findings.begin(), findings.end(), [&](const Finding& x, const Finding& y) {
    if (percent(x) != percent(y)) return percent(x) > percent(y);
    if (x.id != y.id) return MistakeRank(x.id) < MistakeRank(y.id);
    return x.explains > y.explains;
  });
  std::vector<Cause> causes;
  std::set<std::string> told;
  for (const Finding& finding : findings) {
    if (causes.size() == kMostCauses || finding.explains <= kFirstShare) break;
    if (told.insert(finding.id).second)
      causes.push_back(CauseOf(finding.id, finding.where, finding.explains));
  }
  return causes;
}

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

std::vector<Cause> ForwardCauses(const Capture& capture, const Contract& contract,
                                 const Verdict& verdict, const simd::EngineOptions& options) {
  const OutputVerdict* o = Find(verdict, "o");
  const AttentionStart start(capture, contract, options);
  const std::vector<Cause> plain = PlainCauses(capture, start, verdict);
  if (!plain.empty()) return plain;
  ForwardDiagnosis diagnosis(capture, contract, verdict, options);
  using Step = std::function<std::vector<Finding>()>;
  std::vector<Step> steps = {
      [&] { return diagnosis.ByIntervals(); },
      [&] { return OtherFindings(capture, contract, start, verdict); },
      [&] { return diagnosis.BySchedule(verdict); },
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
  return Ranked(findings);
}

}  // namespace

std::vector<Cause> Diagnose(const Capture& capture, const Contract& contract,
                            const Verdict& verdict, const simd::EngineOptions& options) {
  simd::EngineOptions quiet = options;
  quiet.progress = nullptr;
  const std::string_view stage = verdict.FirstOut();
  std::vector<Cause> causes;
  if (stage == "q_rope" || stage == "k_rope") {
    causes = Ranked(ExplainRotation(capture, contract, verdict, quiet));
  } else if (stage == "o" || stage == "lse") {
    causes = ForwardCauses(capture, contract, verdict, quiet);
  }
  if (causes.empty() || causes.front().explains < kExplains)
    causes.insert(causes.begin(), Unknown(verdict));
  return causes;
}

}  // namespace bitanchor::tools
