#include "tools/diagnose_mask_value.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

#include "lib/number/elementary.h"
#include "tools/judge_rows.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::RowPlace;

constexpr size_t kWrongRows = 32, kOtherRows = 32;
constexpr double kLeastRise = 0.1;  // of an LSE, to tell the masked score by
// In use where -inf is not: BERT's, the least numbers of f16, bf16 and f32; and 0, where scores
// are multiplied by the mask.
constexpr double kMaskValues[] = {-10000, -65504, -1e9, -0x1.FEp127, -0x1.FFFFFEp127, 0};

// One row of the capture, of the right kernel, and of the keys that are masked in it.
struct Row {
  RowPlace at;
  IntervalBlock right;
  float lse = 0;           // natural, scaled
  int64_t masked = 0;      // keys
  std::vector<double> v;   // [D], the mean of their values
  std::vector<double> mv;  // [D], of their values' sizes
};

void AddMasked(const AttentionProblem& p, Row& row) {
  const int64_t D = p.shape.D, key_head = p.shape.KeyHead(row.at.h);
  row.v.assign(D, 0);
  row.mv.assign(D, 0);
  for (int64_t j = 0; j < p.shape.Skv; ++j) {
    if (p.mask.Visible(row.at.b, row.at.i, j)) continue;
    ++row.masked;
    for (int64_t d = 0; d < D; ++d) {
      const double value = p.v.At(row.at.b, j, key_head, d);
      row.v[d] += value;
      row.mv[d] += std::fabs(value);
    }
  }
  for (std::vector<double>* mean : {&row.v, &row.mv}) {
    for (double& x : *mean) x /= static_cast<double>(std::max<int64_t>(row.masked, 1));
  }
}

std::vector<Row> Rows(const Capture& capture, const AttentionStart& start,
                      const std::vector<RowPlace>& places) {
  const std::vector<IntervalBlock> right = start.Intervals(places);
  std::vector<Row> rows;
  for (size_t n = 0; n < places.size(); ++n) {
    const RowPlace& at = places[n];
    Row row{at, right[n], 0, 0, {}, {}};
    if (capture.lse) {
      const float lse = capture.lse.At(at.b, at.h, at.i), scale = capture.problem.softmax_scale;
      const bool empty = OfEmptyRow(right[n].lse[0]) && !std::isfinite(lse);
      row.lse = NaturalLse(capture.lse_spec, lse, scale, empty);
    }
    AddMasked(start.problem().problem, row);
    rows.push_back(std::move(row));
  }
  return rows;
}

// ln(e^x + e^y)
double LogAddExp(double x, double y) {
  const double most = std::max(x, y);
  return std::isinf(most) ? most : most + number::LogF64(1 + number::ExpF64(std::min(x, y) - most));
}

constexpr float kInf = std::numeric_limits<float>::infinity();

// The f32 next to x that is not nearer to the middle of an interval which ends there; `way` is the
// infinity on that side.
float Outward(double x, float way) {
  const float nearest = static_cast<float>(x);
  const bool inward = way > 0 ? nearest < x : nearest > x;
  return inward ? std::nextafterf(nearest, way) : nearest;
}

// From the row whose LSE the masked keys lift most.
std::optional<double> MaskedScore(const std::vector<Row>& rows) {
  double most = kLeastRise;
  std::optional<double> score;
  for (const Row& row : rows) {
    const double want = row.right.lse[0].want, rise = row.lse - want;
    if (row.masked == 0 || !std::isfinite(row.lse) || !(rise > most)) continue;
    most = rise;
    score = row.lse + number::LogF64(1 - number::ExpF64(-rise)) -
            number::LogF64(static_cast<double>(row.masked));
  }
  return score;
}

// The right kernel's intervals with the masked keys' part in them, everything of one row.
class WithMaskedKeys {
 public:
  WithMaskedKeys(const Contract& contract, DType o_dtype, const Row& row, double score)
      : o_dtype_(o_dtype), row_(row) {
    const Interval& lse = row.right.lse[0];
    const double part =
        score + number::LogF64(static_cast<double>(std::max<int64_t>(row.masked, 1)));
    none_ = row.masked == 0;
    lse_ = lse;
    if (none_) return;
    const RowTerms terms = TermsOf(contract, row.masked, 1);
    of_masked_ = terms.shared + terms.numerator + terms.depth;
    const double low = LogAddExp(Natural(lse.low, lse), part);
    const double high = LogAddExp(Natural(lse.high, lse), part);
    least_ = number::ExpF64(part - high);
    most_ = number::ExpF64(part - low);
    const double freedom = terms.depth + 4 * UnitRoundoff(DType::kF32) * std::fabs(part);
    lse_.want = LogAddExp(lse.want, part);
    lse_.low = Outward(low - freedom, -kInf);
    lse_.high = Outward(high + freedom, kInf);
  }

  const Interval& Lse() const { return lse_; }

  Interval O(int64_t d) const {
    Interval o = row_.right.o[d];
    if (none_ || !(o.low <= o.high)) return o;
    const double off = of_masked_ * row_.mv[d];
    double low = std::numeric_limits<double>::infinity(), high = -low;
    for (const double share : {least_, most_}) {
      low = std::min(low, (1 - share) * o.low + share * (row_.v[d] - off));
      high = std::max(high, (1 - share) * o.high + share * (row_.v[d] + off));
    }
    return RoundedInterval(o_dtype_, (low + high) / 2, low, high);
  }

 private:
  // A row that sees nothing has an interval for what the capture says of such rows.
  static double Natural(float end, const Interval& lse) {
    return std::isinf(lse.want) ? lse.want : end;
  }

  DType o_dtype_;
  const Row& row_;
  bool none_ = false;
  double of_masked_ = 0;         // what their part of o may be off by, to its size
  double least_ = 0, most_ = 0;  // of what share of the row's weight the masked keys have
  Interval lse_ = {};
};

// As Explained::Share: of all elements, or of the wrong ones if that is less.
double Share(const Capture& capture, const Contract& contract, const std::vector<Row>& rows,
             double score) {
  int64_t judged = 0, inside = 0, wrong = 0, wrong_inside = 0;
  const auto look = [&](const Interval& right, const Interval& mistaken, float got) {
    if (right.low > right.high) return;
    const bool out = !Admits(right, got), explained = Admits(mistaken, got);
    ++judged;
    inside += explained;
    wrong += out;
    wrong_inside += out && explained;
  };
  for (const Row& row : rows) {
    const WithMaskedKeys mistaken(contract, capture.o.dtype, row, score);
    for (int64_t d = 0; capture.o && d < capture.o.shape[3]; ++d)
      look(row.right.o[d], mistaken.O(d), capture.o.At(row.at.b, row.at.i, row.at.h, d));
    if (capture.lse) look(row.right.lse[0], mistaken.Lse(), row.lse);
  }
  if (wrong == 0) return 0;
  return std::min(static_cast<double>(inside) / static_cast<double>(judged),
                  static_cast<double>(wrong_inside) / static_cast<double>(wrong));
}

}  // namespace

std::optional<Finding> MaskValueFinding(const Capture& capture, const Contract& contract,
                                        const AttentionStart& start, const Verdict& verdict) {
  if (!capture.o) return std::nullopt;  // an LSE or two say little
  std::vector<RowPlace> places = Evenly(WrongRows(verdict), kWrongRows);
  const std::vector<Row> wrong = Rows(capture, start, places);
  for (const RowPlace& place : TellingRows(start.problem().problem, kOtherRows))
    places.push_back(place);
  const std::vector<Row> rows = Rows(capture, start, places);
  if (capture.lse) {
    const std::optional<double> score = MaskedScore(wrong);
    if (!score) return std::nullopt;
    return Finding{"mask-not-infinite", fmt::format("{:.6g}", *score),
                   Share(capture, contract, rows, *score)};
  }
  Finding best{"mask-not-infinite", "", 0};
  for (const double score : kMaskValues) {
    const double share = Share(capture, contract, rows, score);
    if (share > best.explains) best = {best.id, fmt::format("such as {:.6g}", score), share};
  }
  return best;
}

}  // namespace bitanchor::tools
