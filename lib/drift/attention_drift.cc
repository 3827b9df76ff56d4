#include "lib/drift/attention_drift.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "lib/number/elementary.h"

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

// w_j = e^(s_j scale - m) / sum; s and w are indexed by key.
void Softmax(std::span<const KeyRange> visible, double scale, const double* s, double* w) {
  double m = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const KeyRange& range : visible) {
    m = std::max(m, *std::max_element(s + range.begin, s + range.end));
  }
  for (const KeyRange& range : visible) {
    for (int64_t j = range.begin; j < range.end; ++j) {
      w[j] = number::ExpF64((s[j] - m) * scale);
      sum += w[j];
    }
  }
  for (const KeyRange& range : visible) {
    for (int64_t j = range.begin; j < range.end; ++j) w[j] /= sum;
  }
}

// || sum_j (w_j - w'_j) v_j ||_2.
double OutputMoves(const HeadProblem& head, std::span<const KeyRange> visible, const double* w,
                   const double* w_other, std::vector<double>& o) {
  std::fill(o.begin(), o.end(), 0.0);
  for (const KeyRange& range : visible) {
    for (int64_t j = range.begin; j < range.end; ++j) {
      const double difference = w[j] - w_other[j];
      const double* v = head.v.data() + j * head.D;
      for (int64_t d = 0; d < head.D; ++d) o[static_cast<size_t>(d)] += difference * v[d];
    }
  }
  double squares = 0;
  for (const double x : o) squares += x * x;
  return std::sqrt(squares);
}

}  // namespace

RowScratch::RowScratch(const HeadProblem& head)
    : scores(head.rotated.size(),
             std::vector<double>(static_cast<size_t>(PackedKeys::Padded(head.T)))),
      weights(scores),
      output(static_cast<size_t>(head.D)) {}

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
  const double scale = 1 / std::sqrt(static_cast<double>(head.D));
  for (int64_t i = begin; i < end; ++i) {
    const std::vector<KeyRange> visible = VisibleKeys(*head.mask, head.b, i);
    for (size_t side = 0; side < head.rotated.size(); ++side) {
      const RotatedHead& rotated = head.rotated[side];
      double* const s = scratch.scores[side].data();
      for (const KeyRange& range : visible) {
        rotated.keys->Scores(rotated.q.data() + i * head.D, range.begin, range.end, s);
      }
      Softmax(visible, scale, s, scratch.weights[side].data());
    }
    for (size_t pair = 0; pair < head.pairs.size(); ++pair) {
      const auto [one, other] = head.pairs[pair];
      const double *s = scratch.scores[one].data(), *s_other = scratch.scores[other].data();
      const double *w = scratch.weights[one].data(), *w_other = scratch.weights[other].data();
      QuerySums& to = sums[pair];
      for (const KeyRange& range : visible) {
        for (int64_t j = range.begin; j < range.end; ++j) {
          const size_t at = static_cast<size_t>(j);
          const double difference = w[j] - w_other[j];
          to.attention_abs[at] += std::fabs(difference);
          to.attention_signed[at] += difference;
          to.logit_abs[at] += std::fabs(s[j] - s_other[j]);
        }
      }
      if (!head.v.empty()) to.output += OutputMoves(head, visible, w, w_other, scratch.output);
    }
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
