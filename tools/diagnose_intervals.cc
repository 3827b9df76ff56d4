#include "tools/diagnose_intervals.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <utility>

#include "lib/exact/attention_mistakes.h"
#include "lib/recipe/mistake.h"
#include "simd/parallel.h"
#include "tools/find_block.h"
#include "tools/hypothesis.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::MistakenAttention;
using exact::RowPlace;

constexpr size_t kWrongRows = 32, kOtherRows = 32;
constexpr size_t kFirstRows = 6;  // on which most hypotheses are found not to hold

class IntervalDiagnosis {
 public:
  IntervalDiagnosis(const Capture& capture, const Contract& contract, const AttentionStart& start,
                    const RowsToTry& rows)
      : capture_(capture),
        contract_(contract),
        start_(start),
        wrong_rows_(rows.wrong),
        first_(SampleOf(capture, start, rows.first)),
        all_(SampleOf(capture, start, rows.all)) {}

  std::vector<Finding> Explain() {
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

 private:
  Hypothesis Of(const MistakenAttention& kernel) const {
    return {kernel.id, kernel.where, kernel, contract_};
  }

  void TryOne(Hypothesis hypothesis) {
    if (Try(capture_, hypothesis, first_, start_.options()).Share() < kLeastShare) return;
    const Explained explained = Try(capture_, hypothesis, all_, start_.options());
    findings_.push_back({hypothesis.id, hypothesis.where, explained.Share()});
  }

  void TryCaptureMistakes() {
    const MistakenAttention right = exact::Mistaken(start_.attention(), "");
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

  void TryRotations() {
    const std::vector<RopeMistake> mistakes = RotationMistakes(capture_);
    for (const RopeMistake& mistake : mistakes) {
      if (!FindMistake(mistake.id)->rounding)
        TryOne(RotationHypothesis(capture_, contract_, start_, mistake));
    }
    if (mistakes.empty() || HasCause()) return;
    for (const RopeMistake& mistake : OtherBases(capture_.problem))
      TryOne(RotationHypothesis(capture_, contract_, start_, mistake));
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
    MistakenAttention mapped = exact::Mistaken(start_.attention(), "heads-mapped");
    MistakenAttention permuted = exact::Mistaken(start_.attention(), "heads-permuted");
    for (int64_t h = 0; h < shape.Hq; ++h) {
      mapped.key_heads.push_back(shape.KeyHead(h));
      permuted.answer_heads.push_back(h);
    }
    Choose(shape.Hkv, mapped, &MistakenAttention::key_heads);
    Choose(shape.Hq, permuted, &MistakenAttention::answer_heads);
    mapped.where = fmt::format("query heads read key heads {}", fmt::join(mapped.key_heads, ", "));
    permuted.where =
        fmt::format("heads hold the answers of {}", fmt::join(permuted.answer_heads, ", "));
    if (shape.Hkv > 1) TryOne(Of(mapped));
    TryOne(Of(permuted));
  }

  // Sets heads[h], a part of `kernel`, to the one of `n` that comes closest to a wrong row of head
  // h.
  void Choose(int64_t n, MistakenAttention& kernel,
              std::vector<int64_t> MistakenAttention::*heads) {
    for (size_t h = 0; h < (kernel.*heads).size(); ++h) {
      std::vector<RowPlace> rows;
      for (const RowPlace& row : wrong_rows_) {
        if (row.h == static_cast<int64_t>(h)) rows.push_back(row);
      }
      if (rows.empty()) continue;
      const RowPlace at = rows.back();
      std::vector<double> distances(n);
      simd::ParallelFor(start_.options(), n, [&](int64_t other, int) {
        MistakenAttention one = kernel;
        (one.*heads)[h] = other;
        exact::GatheredRow scratch;
        const std::vector<float> o = exact::Stored(one, at, scratch).o;
        for (size_t d = 0; d < o.size(); ++d) {
          distances[other] += std::fabs(static_cast<double>(o[d]) -
                                        capture_.o.At(at.b, at.i, at.h, static_cast<int64_t>(d)));
        }
      });
      const auto least = std::min_element(distances.begin(), distances.end());
      (kernel.*heads)[h] = least - distances.begin();
    }
  }

  bool HasCause() const { return std::ranges::any_of(findings_, Explains); }

  const Capture& capture_;
  const Contract& contract_;
  const AttentionStart& start_;
  const std::vector<RowPlace>& wrong_rows_;
  const Sample first_, all_;
  std::vector<Finding> findings_;
};

}  // namespace

RowsToTry RowsToTryOf(const Verdict& verdict, const AttentionProblem& problem) {
  RowsToTry rows;
  rows.wrong = WrongRows(verdict);
  const std::vector<RowPlace> some = Evenly(rows.wrong, kWrongRows);
  rows.first = Evenly(some, kFirstRows);
  rows.all = some;
  for (const RowPlace& place : TellingRows(problem, kOtherRows)) {
    if (std::count(some.begin(), some.end(), place) == 0) rows.all.push_back(place);
  }
  return rows;
}

std::vector<Finding> ExplainByIntervals(const Capture& capture, const Contract& contract,
                                        const AttentionStart& start, const RowsToTry& rows) {
  if (rows.wrong.empty()) return {};
  return IntervalDiagnosis(capture, contract, start, rows).Explain();
}

}  // namespace bitanchor::tools
