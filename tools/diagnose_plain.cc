#include "tools/diagnose_plain.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <string>

#include "tools/finding.h"
#include "tools/judge_rows.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::RowPlace;

constexpr size_t kWrongRows = 32;

// What of the wrong elements of o and lse is plainly nothing that a kernel computes.
struct Plain {
  int64_t wrong = 0, not_finite = 0, zero = 0, elements = 0;
  int64_t hidden = 0;      // wrong zeros of o beside an LSE that is not finite
  int64_t in_o = 0;        // of what is not finite, or hidden
  bool isolated = true;    // not finite in o: whole rows nowhere
  bool loud = true;        // every row with such elements needs its maximum subtracted
  bool unseen_bad = true;  // every row with such elements leaves out a key that is not finite
  bool empty_lse = true;   // only LSE of rows that see nothing is wrong
};

constexpr double kExpOverflows = 88.7, kExpVanishes = -103.3;  // f32

bool HasBadKey(const AttentionProblem& p, const RowPlace& at) {
  const int64_t key_head = p.shape.KeyHead(at.h);
  for (int64_t j = 0; j < p.shape.Skv; ++j) {
    if (p.mask.Visible(at.b, at.i, j)) continue;
    for (int64_t d = 0; d < p.shape.D; ++d) {
      if (!std::isfinite(p.k.At(at.b, j, key_head, d)) ||
          !std::isfinite(p.v.At(at.b, j, key_head, d)))
        return true;
    }
  }
  return false;
}

double LargestScore(const AttentionProblem& p, const RowPlace& at) {
  double most = -std::numeric_limits<double>::infinity();
  for (int64_t j = 0; j < p.shape.Skv; ++j) {
    if (!p.mask.Visible(at.b, at.i, j)) continue;
    double s = 0;
    for (int64_t d = 0; d < p.shape.D; ++d) {
      s += static_cast<double>(p.q.At(at.b, at.i, at.h, d)) *
           p.k.At(at.b, j, p.shape.KeyHead(at.h), d);
    }
    most = std::max(most, s * p.softmax_scale);
  }
  return most;
}

// Whether exp of the bare scores overflows, or vanishes for all of them.
bool NeedsTheMaximum(const AttentionProblem& p, const RowPlace& at) {
  const double largest = LargestScore(p, at);
  return largest > kExpOverflows || (std::isfinite(largest) && largest < kExpVanishes);
}

Plain LookAt(const Capture& capture, const AttentionStart& start, const Verdict& verdict) {
  Plain plain;
  const std::vector<RowPlace> rows = Evenly(WrongRows(verdict), kWrongRows);
  const std::vector<IntervalBlock> want = start.Intervals(rows);
  const AttentionProblem& p = start.problem().problem;
  for (size_t n = 0; n < rows.size(); ++n) {
    const RowPlace& at = rows[n];
    int64_t bad = 0, bad_lse = 0, judged = 0, wrong_zeros = 0, hidden = 0;
    const auto look = [&](const Interval& interval, float got) {
      ++judged;
      plain.zero += got == 0;
      const bool wrong = !Admits(interval, got);
      plain.wrong += wrong;
      wrong_zeros += wrong && got == 0;
      if (wrong && !std::isfinite(got)) ++bad;
      return wrong;
    };
    for (int64_t d = 0; capture.o && d < p.shape.D; ++d) {
      if (look(want[n].o[d], capture.o.At(at.b, at.i, at.h, d))) plain.empty_lse = false;
    }
    if (capture.lse) {
      const bool empty = OfEmptyRow(want[n].lse[0]);
      const float got =
          NaturalLse(capture.lse_spec, capture.lse.At(at.b, at.h, at.i), p.softmax_scale, empty);
      const int64_t bad_o = bad;
      if (look(want[n].lse[0], got) && !empty) plain.empty_lse = false;
      bad_lse = bad - bad_o;
      if (!std::isfinite(got) && wrong_zeros > 0 && (!(got < 0) || NeedsTheMaximum(p, at)))
        hidden = wrong_zeros;
    }
    plain.elements += judged;
    plain.not_finite += bad;
    plain.hidden += hidden;
    if (bad == 0) continue;
    const int64_t in_o = bad - bad_lse + hidden;
    plain.in_o += in_o;
    plain.isolated &= 2 * in_o < p.shape.D;
    plain.loud &= NeedsTheMaximum(p, at);
    plain.unseen_bad &= HasBadKey(p, at);
  }
  return plain;
}

bool EverythingIsZero(const Capture& capture) {
  const AttentionShape& shape = capture.problem.shape;
  for (int64_t b = 0; b < shape.B; ++b) {
    for (int64_t h = 0; h < shape.Hq; ++h) {
      for (int64_t i = 0; i < shape.Sq; ++i) {
        if (capture.lse && capture.lse.At(b, h, i) != 0) return false;
        for (int64_t d = 0; capture.o && d < shape.D; ++d) {
          if (capture.o.At(b, i, h, d) != 0) return false;
        }
      }
    }
  }
  return true;
}

}  // namespace

std::vector<Cause> PlainCauses(const Capture& capture, const AttentionStart& start,
                               const Verdict& verdict) {
  const Plain plain = LookAt(capture, start, verdict);
  if (plain.wrong == 0) return {};
  const auto share = [&](int64_t part, int64_t all) {
    return static_cast<double>(part) / static_cast<double>(all);
  };
  if (plain.empty_lse) return {CauseOf("lse-empty", "", 1)};
  if (plain.zero == plain.elements && EverythingIsZero(capture)) return {CauseOf("zeros", "", 1)};
  const int64_t not_finite = plain.not_finite + plain.hidden;
  if (2 * not_finite < plain.wrong) return {};
  const char* why =
      plain.loud         ? "in rows with a score above 88 or none above -103, whose exp leaves "
                           "f32: softmax without subtraction of the maximum"
      : plain.unseen_bad ? "in rows whose masked keys are not finite: 0 x Inf, or NaN, of a key "
                           "that must not be read"
      : plain.in_o == 0  ? "in LSE alone: the logarithm of a sum that is 0, has overflowed or was "
                           "never written"
      : plain.isolated   ? "in single elements: memory that was never written, or a "
                           "race"
                         : "in whole rows: 0/0 of a row that sees no key in a tile, or "
                           "memory that was never written";
  const char* hidden = plain.hidden > 0 ? "; zeros hide it in o" : "";
  Cause cause = CauseOf("not-finite", std::string(why) + hidden, share(not_finite, plain.wrong));
  if (plain.unseen_bad && !plain.loud)
    cause.fix = "select masked scores and values away (torch.where) instead of multiplying by 0";
  if (capture.o && plain.in_o == 0 && !plain.loud && !plain.unseen_bad)
    cause.fix = "o is finite, so its row sum is: check what LSE is computed from, and its store";
  return {cause};
}

}  // namespace bitanchor::tools
