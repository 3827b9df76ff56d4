#include "lib/drift/attention_drift.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitanchor::drift {
namespace {

// A run of visible keys.
struct KeyRange {
  int64_t begin, end;
};

std::vector<KeyRange> VisibleKeys(const Mask& mask, int64_t b, int64_t i) {
  if (mask.spec.rule == MaskRule::kFull && !mask.spec.window_keys) return {{0, i + 1}};
  std::vector<KeyRange> ranges;
  for (int64_t j = 0; j <= i; ++j) {
    if (!mask.Visible(b, i, j)) continue;
    if (ranges.empty() || ranges.back().end != j) ranges.push_back({j, j});
    ranges.back().end = j + 1;
  }
  return ranges;
}

// Whole lanes that have visible keys, and which keys in them are not.
struct VisibleLanes {
  std::vector<LaneRange> ranges;
  std::vector<int64_t> hidden;
};

VisibleLanes LanesOf(const std::vector<KeyRange>& visible) {
  VisibleLanes lanes;
  int64_t seen = 0;  // keys before this are visible, hidden, or not in the ranges
  for (const KeyRange& range : visible) {
    const int64_t begin = range.begin / kLanes * kLanes, end = Panels::Padded(range.end);
    const int64_t from = std::max(begin, seen);
    // The end of the range before was hidden up to its last lane: what is visible here comes back.
    while (!lanes.hidden.empty() && lanes.hidden.back() >= range.begin) lanes.hidden.pop_back();
    for (int64_t j = from; j < range.begin; ++j) lanes.hidden.push_back(j);
    for (int64_t j = range.end; j < end; ++j) lanes.hidden.push_back(j);
    seen = end;
    if (!lanes.ranges.empty() && begin <= lanes.ranges.back()[1]) {
      lanes.ranges.back()[1] = end;
    } else {
      lanes.ranges.push_back({begin, end});
    }
  }
  return lanes;
}

// The lanes that any of the rows sees.
std::vector<LaneRange> Together(const std::vector<VisibleLanes>& rows) {
  std::vector<LaneRange> all, merged;
  for (const VisibleLanes& row : rows) {
    all.insert(all.end(), row.ranges.begin(), row.ranges.end());
  }
  std::sort(all.begin(), all.end());
  for (const LaneRange& range : all) {
    if (merged.empty() || range[0] > merged.back()[1]) merged.push_back(range);
    merged.back()[1] = std::max(merged.back()[1], range[1]);
  }
  return merged;
}

// Up to kRows queries of a head.
class QueryRows {
 public:
  QueryRows(const HeadProblem& head, int64_t begin, int64_t end, RowScratch& scratch)
      : head_(head),
        begin_(begin),
        rows_(end - begin),
        stride_(Panels::Padded(head.T)),
        scratch_(scratch) {
    for (int64_t i = begin; i < end; ++i) {
      lanes_.push_back(LanesOf(VisibleKeys(*head.mask, head.b, i)));
    }
  }

  // Scores, 0 where nothing is seen, and weights.
  void Attend(size_t side) {
    const RotatedHead& rotated = head_.rotated[side];
    double* const s = scratch_.scores[side].data();
    double* const w = scratch_.weights[side].data();
    const double* q[kRows];
    for (int64_t r = 0; r < kRows; ++r) q[r] = rotated.q.data() + (begin_ + Row(r)) * head_.D;
    for (const LaneRange& range : Together(lanes_)) {
      for (int64_t j = range[0]; j < range[1]; j += kLanes) {
        double* out[kRows];
        for (int64_t r = 0; r < kRows; ++r) out[r] = s + Row(r) * stride_ + j;
        head_.kernels.product(q, rotated.keys->Panel(j / kLanes), head_.D, out);
      }
    }
    const double scale = 1 / std::sqrt(static_cast<double>(head_.D));
    for (int64_t r = 0; r < rows_; ++r) {
      const VisibleLanes& lanes = lanes_[static_cast<size_t>(r)];
      double* const row = s + r * stride_;
      for (const int64_t j : lanes.hidden) row[j] = -std::numeric_limits<double>::infinity();
      head_.kernels.softmax(lanes.ranges, scale, row, w + r * stride_);
      for (const int64_t j : lanes.hidden) row[j] = w[r * stride_ + j] = 0;
    }
  }

  void Compare(const ShiftPair& pair, QuerySums& sums) {
    if (!head_.v.empty()) std::fill(scratch_.difference.begin(), scratch_.difference.end(), 0.0);
    for (int64_t r = 0; r < rows_; ++r) {
      const int64_t at = r * stride_;
      head_.kernels.compare(
          lanes_[static_cast<size_t>(r)].ranges, scratch_.scores[pair.one].data() + at,
          scratch_.scores[pair.other].data() + at, scratch_.weights[pair.one].data() + at,
          scratch_.weights[pair.other].data() + at, scratch_.difference.data() + at,
          sums.attention_signed.data(), sums.attention_abs.data(), sums.logit_abs.data());
    }
    if (!head_.v.empty()) sums.output += OutputMoves();
  }

 private:
  // kRows rows are multiplied even where there are fewer: the last one again.
  int64_t Row(int64_t r) const { return std::min(r, rows_ - 1); }

  // The sum over rows of || sum_j difference_j v_j ||_2.
  double OutputMoves() {
    const int64_t width = Panels::Padded(head_.D), keys = begin_ + rows_;
    const double* difference[kRows];
    for (int64_t r = 0; r < kRows; ++r) {
      difference[r] = scratch_.difference.data() + Row(r) * stride_;
    }
    for (int64_t d = 0; d < head_.D; d += kLanes) {
      double* out[kRows];
      for (int64_t r = 0; r < kRows; ++r) out[r] = scratch_.output.data() + Row(r) * width + d;
      head_.kernels.product(difference, head_.v.Panel(d / kLanes), keys, out);
    }
    double moves = 0;
    for (int64_t r = 0; r < rows_; ++r) {
      double squares = 0;
      const double* const o = scratch_.output.data() + r * width;
      for (int64_t d = 0; d < head_.D; ++d) squares += o[d] * o[d];
      moves += std::sqrt(squares);
    }
    return moves;
  }

  const HeadProblem& head_;
  int64_t begin_, rows_, stride_;
  RowScratch& scratch_;
  std::vector<VisibleLanes> lanes_;  // of each row
};

}  // namespace

RowScratch::RowScratch(const HeadProblem& head)
    : scores(head.rotated.size(),
             std::vector<double>(static_cast<size_t>(kRows * Panels::Padded(head.T)))),
      weights(scores),
      difference(scores.front()),
      output(static_cast<size_t>(kRows * Panels::Padded(head.D))) {}

void QuerySums::Take(QuerySums& more, int64_t keys) {
  const auto take = [&](std::vector<double>& mine, std::vector<double>& theirs) {
    for (size_t j = 0; j < static_cast<size_t>(keys); ++j) {
      mine[j] += theirs[j];
      theirs[j] = 0;
    }
  };
  take(attention_abs, more.attention_abs);
  take(attention_signed, more.attention_signed);
  take(logit_abs, more.logit_abs);
  output += more.output;
  more.output = 0;
}

void AddQueries(const HeadProblem& head, int64_t begin, int64_t end, RowScratch& scratch,
                std::vector<QuerySums>& sums) {
  for (int64_t i = begin; i < end; i += kRows) {
    QueryRows rows(head, i, std::min(end, i + kRows), scratch);
    for (size_t side = 0; side < head.rotated.size(); ++side) rows.Attend(side);
    for (size_t n = 0; n < head.pairs.size(); ++n) rows.Compare(head.pairs[n], sums[n]);
  }
}

void Drift::AddHead(const QuerySums& sums, int64_t T, int64_t batch) {
  const double B = static_cast<double>(batch), tokens = static_cast<double>(T);
  keys.resize(static_cast<size_t>(T));
  for (int64_t j = 0; j < T; ++j) {
    const size_t at = static_cast<size_t>(j);
    const double n = 1 / static_cast<double>(T - j);
    KeyDrift& key = keys[at];
    const double term_abs = n * sums.attention_abs[at] / B;
    const double term_signed = n * std::fabs(sums.attention_signed[at]) / B;
    key.D_abs += term_abs;
    key.D_signed += term_signed;
    key.D_logit += sums.logit_abs[at] / tokens / B;
    key.D_attention += sums.attention_abs[at] / tokens / B;
    D_abs += term_abs;
    D_signed += term_signed;
  }
  D_output += sums.output / tokens / B;
}

}  // namespace bitanchor::drift
