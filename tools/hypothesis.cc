#include "tools/hypothesis.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>

#include "simd/parallel.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {
namespace {

using exact::AnsweredRows;
using exact::GatheredRow;
using exact::RowPlace;

// Whether an interval is narrow enough for an answer inside to be evidence.
bool Telling(const Interval& interval) {
  if (std::isnan(interval.low)) return true;
  if (interval.low > interval.high) return false;
  if (interval.low == interval.high) return true;
  const double width = static_cast<double>(interval.high) - interval.low;
  const double size =
      interval.magnitude > 0 ? interval.magnitude : std::max(1.0, std::fabs(interval.want));
  return width <= size / 4;
}

float OtherSixteenBits(DType dtype, float x) {
  if (dtype == DType::kBF16) return ToF32(F16{ToBF16(x).bits});
  return ToF32(BF16{ToF16(x).bits});
}

// What a row of the capture holds: o [D], NaN where it is absent, and LSE.
struct Answered {
  std::vector<float> o;
  float lse = 0;
};

Answered AnswerAt(const Capture& capture, const RowPlace& at, const LseSpec& spec, bool other_bits,
                  bool row_is_empty) {
  Answered answer;
  const auto [b, h, i] = at;
  for (int64_t d = 0; capture.o && d < capture.o.shape[3]; ++d) {
    const float x = capture.o.At(b, i, h, d);
    answer.o.push_back(other_bits ? OtherSixteenBits(capture.o.dtype, x) : x);
  }
  if (capture.lse) {
    answer.lse =
        NaturalLse(spec, capture.lse.At(b, h, i), capture.problem.softmax_scale, row_is_empty);
  }
  return answer;
}

// The mistaken kernel's intervals of one row.
void Intervals(const Hypothesis& hypothesis, const RowPlace& at, GatheredRow& row,
               IntervalBlock& out) {
  const exact::MistakenAttention& kernel = hypothesis.kernel;
  const AnsweredRows of = AnsweredAt(kernel, at);
  IntervalBlock of_lse;
  const bool apart = of.o != of.lse;
  if (apart) {
    Gather(kernel, of.lse, row);
    MistakenIntervals(row, hypothesis.contract, of_lse);
  }
  Gather(kernel, of.o, row);
  MistakenIntervals(row, hypothesis.contract, out);
  if (apart) out.lse = of_lse.lse;
}

}  // namespace

std::vector<RopeMistake> RotationMistakes(const Capture& capture) {
  if (!capture.problem.rope || (capture.q_rope && capture.k_rope)) return {};
  return RopeMistakes(capture.problem);
}

Hypothesis RotationHypothesis(const Capture& capture, const Contract& contract,
                              const AttentionStart& start, const RopeMistake& mistake) {
  auto rotation = std::make_shared<const MistakenRotation>(Rotate(mistake, start.options()));
  auto understood = std::make_shared<IntervalProblem>(start.problem());
  if (!capture.q_rope) understood->problem.q = rotation->q.view;
  if (!capture.k_rope) {
    understood->problem.k = rotation->k.view;
    understood->problem.v = mistake.v;
  }
  Hypothesis hypothesis{mistake.id, mistake.where,
                        exact::Mistaken(std::move(understood), mistake.id, mistake.where),
                        contract};
  hypothesis.rotation = std::move(rotation);
  return hypothesis;
}

Sample SampleOf(const Capture& capture, const AttentionStart& right, std::vector<RowPlace> rows) {
  Sample sample{std::move(rows), {}};
  const std::vector<IntervalBlock> want = right.Intervals(sample.rows);
  for (size_t n = 0; n < sample.rows.size(); ++n) {
    const Answered got =
        AnswerAt(capture, sample.rows[n], capture.lse_spec, false, OfEmptyRow(want[n].lse[0]));
    std::vector<uint8_t> wrong(want[n].o.size() + 1);
    const auto look = [&](const Interval& interval, float x, size_t at) {
      if (interval.low > interval.high) return;
      ++sample.elements;
      wrong[at] = !Admits(interval, x);
      sample.wrong_elements += wrong[at];
    };
    for (size_t d = 0; d < got.o.size(); ++d) look(want[n].o[d], got.o[d], d);
    if (capture.lse) look(want[n].lse[0], got.lse, want[n].o.size());
    sample.wrong.push_back(std::move(wrong));
  }
  return sample;
}

double Explained::Share() const {
  if (judged == 0) return 0;
  const double all = static_cast<double>(inside) / static_cast<double>(judged);
  if (wrong == 0) return all;
  return std::min(all, static_cast<double>(wrong_inside) / static_cast<double>(wrong));
}

Explained Try(const Capture& capture, const Hypothesis& hypothesis, const Sample& sample,
              const simd::EngineOptions& options) {
  const int workers = simd::Workers(options);
  std::vector<Explained> parts(workers);
  std::vector<GatheredRow> scratch(workers);
  const LseSpec spec = hypothesis.lse_spec.value_or(capture.lse_spec);
  simd::ParallelFor(options, static_cast<int64_t>(sample.rows.size()), [&](int64_t n, int worker) {
    Explained& mine = parts[worker];
    const RowPlace& at = sample.rows[n];
    IntervalBlock want;
    Intervals(hypothesis, at, scratch[worker], want);
    WidenForConversion(spec, want.lse[0]);
    const Answered got =
        AnswerAt(capture, at, spec, hypothesis.other_16_bits, OfEmptyRow(want.lse[0]));
    const auto look = [&](const Interval& interval, float x, bool wrong) {
      if (!Telling(interval)) return;
      ++mine.judged;
      mine.wrong += wrong;
      const bool inside = Admits(interval, x);
      mine.inside += inside;
      mine.wrong_inside += wrong && inside;
    };
    const std::vector<uint8_t>& wrong = sample.wrong[n];
    for (size_t d = 0; d < got.o.size(); ++d) look(want.o[d], got.o[d], wrong[d]);
    if (capture.lse) look(want.lse[0], got.lse, wrong[wrong.size() - 1]);
  });
  Explained all = parts[0];
  for (int worker = 1; worker < workers; ++worker) {
    all.inside += parts[worker].inside;
    all.judged += parts[worker].judged;
    all.wrong_inside += parts[worker].wrong_inside;
    all.wrong += parts[worker].wrong;
  }
  // Too little is left to judge by.
  if (2 * all.judged < sample.elements || 2 * all.wrong < sample.wrong_elements) all.inside = 0;
  return all;
}

}  // namespace bitanchor::tools
