#include "lib/exact/mistaken_attention.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "lib/exact/attention_interval.h"
#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"

namespace bitanchor::exact {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

bool Sees(const MistakenAttention& kernel, const RowPlace& of, int64_t j) {
  const Mask& mask = kernel.attention->problem.mask;
  if (kernel.diagonal && j > of.i + mask.Offset() + *kernel.diagonal) return false;
  return mask.Visible(of.b, of.i, j);
}

void Append(const TensorView& from, int64_t b, int64_t s, int64_t h, std::vector<float>& to) {
  const int64_t D = from.shape[3], size_bytes = static_cast<int64_t>(DTypeBytes(from.dtype));
  to.resize(to.size() + D);
  const std::byte* row = from.Row(b, s, h);
  for (float* x = to.data() + to.size() - D; x != to.data() + to.size(); ++x, row += size_bytes) {
    *x = LoadF32(from.dtype, row);
  }
}

// In four sums, so that one addition need not wait for the other.
double Dot(const float* x, const float* y, int64_t D) {
  double sums[4] = {};
  int64_t d = 0;
  for (; d + 4 <= D; d += 4) {
    for (int n = 0; n < 4; ++n) sums[n] += static_cast<double>(x[d + n]) * y[d + n];
  }
  for (; d < D; ++d) sums[0] += static_cast<double>(x[d]) * y[d];
  return sums[0] + sums[1] + (sums[2] + sums[3]);
}

float StoredAs(const RoundingTo& rounding, double x) {
  return RoundTo(rounding.dtype, x, rounding.mode);
}

}  // namespace

MistakenAttention Mistaken(RightAttention attention, std::string id, std::string where) {
  MistakenAttention kernel;
  kernel.id = std::move(id);
  kernel.where = std::move(where);
  kernel.attention = std::move(attention);
  return kernel;
}

void Gather(const MistakenAttention& kernel, const RowPlace& of, GatheredRow& row) {
  const IntervalProblem& from = *kernel.attention;
  const AttentionProblem& problem = from.problem;
  const AttentionShape& shape = problem.shape;
  const int64_t key_head = kernel.key_heads.empty() ? shape.KeyHead(of.h) : kernel.key_heads[of.h];
  row.D = shape.D;
  row.n = 0;
  row.scale = problem.softmax_scale;
  row.o_dtype = from.o_dtype;
  for (std::vector<float>* part : {&row.q, &row.k, &row.v, &row.q_deviation, &row.k_deviation}) {
    part->clear();
  }
  row.keys.clear();
  Append(problem.q, of.b, of.i, of.h, row.q);
  if (from.q_deviation) Append(from.q_deviation, of.b, of.i, of.h, row.q_deviation);
  const auto back = [&](int64_t j, int64_t by) {
    return ((j - by) % shape.Skv + shape.Skv) % shape.Skv;
  };
  for (int64_t j = 0; j < shape.Skv; ++j) {
    if (!Sees(kernel, of, j)) continue;
    const bool moved = kernel.moved.Holds(j);
    const int64_t key = moved ? back(j, kernel.keys_back) : j;
    const int64_t value = moved ? back(j, kernel.values_back) : j;
    for (int64_t n = kernel.times ? kernel.times(of, j) : 1; n > 0; --n) {
      const TensorView& keys = moved && kernel.moved_k ? kernel.moved_k : problem.k;
      Append(keys, of.b, key, key_head, row.k);
      if (from.k_deviation) Append(from.k_deviation, of.b, key, key_head, row.k_deviation);
      Append(problem.v, of.b, value, key_head, row.v);
      row.keys.push_back(j);
      ++row.n;
    }
  }
}

AnsweredRows AnsweredAt(const MistakenAttention& kernel, const RowPlace& place) {
  const AttentionShape& shape = kernel.attention->problem.shape;
  RowPlace o = place, lse = place;
  if (kernel.misread == Misread::kHeadsFirst) {
    const int64_t flat = place.i * shape.Hq + place.h;
    o.h = flat / shape.Sq;
    o.i = flat % shape.Sq;
  } else if (kernel.misread == Misread::kTokensFirst) {
    const int64_t flat = place.h * shape.Sq + place.i;
    o.i = flat / shape.Hq;
    o.h = flat % shape.Hq;
  } else if (kernel.misread == Misread::kExchanged) {
    std::swap(o.h, o.i);
    // [B, Hq, Sq] in both readings; where the sizes differ no LSE can have been captured.
    if (shape.Sq != shape.Hq) lse = o;
  }
  if (!kernel.answer_heads.empty()) {
    o.h = kernel.answer_heads[o.h];
    lse.h = kernel.answer_heads[lse.h];
  }
  return {o, lse};
}

RowAnswer Centre(const GatheredRow& row, const std::optional<RoundingTo>& weights) {
  RowAnswer answer{std::vector<double>(row.D), -kInf};
  if (row.n == 0) return answer;
  std::vector<double> w(row.n);
  double m = -kInf, l = 0;
  double* const o = answer.o.data();
  bool nan = false;
  for (int64_t j = 0; j < row.n; ++j) {
    w[j] = Dot(row.q.data(), &row.k[j * row.D], row.D) * row.scale;
    m = std::max(m, w[j]);
    nan |= std::isnan(w[j]);
  }
  if (nan || std::isinf(m)) {  // exp(Inf - Inf)
    answer.lse = std::numeric_limits<double>::quiet_NaN();
    std::fill(answer.o.begin(), answer.o.end(), answer.lse);
    return answer;
  }
  for (int64_t j = 0; j < row.n; ++j) {
    const double p = w[j] == -kInf ? 0.0 : number::ExpF64(w[j] - m);
    l += p;
    w[j] = weights ? StoredAs(*weights, p) : p;
  }
  for (int64_t j = 0; j < row.n; ++j) {
    const float* v = &row.v[j * row.D];
    for (int64_t d = 0; d < row.D; ++d) o[d] += w[j] * v[d];
  }
  for (double& x : answer.o) x /= l;
  answer.lse = m + number::LogF64(l);
  return answer;
}

StoredRow Stored(const MistakenAttention& kernel, const RowPlace& place, GatheredRow& scratch) {
  const FloatEnvironment environment;
  const AnsweredRows of = AnsweredAt(kernel, place);
  Gather(kernel, of.o, scratch);
  const RowAnswer answer = Centre(scratch, kernel.weights);
  const RoundingTo rounding = kernel.output.value_or(RoundingTo{scratch.o_dtype});
  StoredRow stored{{}, RoundToF32(answer.lse)};
  for (const double o : answer.o) stored.o.push_back(StoredAs(rounding, o));
  if (of.o != of.lse) {
    Gather(kernel, of.lse, scratch);
    stored.lse = RoundToF32(Centre(scratch, std::nullopt).lse);
  }
  return stored;
}

void MistakenIntervals(const GatheredRow& row, const Contract& contract, IntervalBlock& out) {
  const int64_t D = row.D;
  const auto view = [](const std::vector<float>& values, const Shape4& shape) {
    return DenseView<const std::byte>(
        DType::kF32, values.empty() ? nullptr : reinterpret_cast<const std::byte*>(values.data()),
        shape);
  };
  IntervalProblem problem;
  problem.problem.shape = {1, 1, row.n, 1, 1, D};
  problem.problem.mask.spec.causal = false;
  problem.problem.mask.B = problem.problem.mask.Sq = 1;
  problem.problem.mask.Skv = row.n;
  problem.problem.q = view(row.q, {1, 1, 1, D});
  problem.problem.k = view(row.k, {1, row.n, 1, D});
  problem.problem.v = view(row.v, {1, row.n, 1, D});
  problem.q_deviation = view(row.q_deviation, {1, 1, 1, D});
  problem.k_deviation = view(row.k_deviation, {1, row.n, 1, D});
  problem.problem.softmax_scale = static_cast<float>(row.scale);
  problem.o_dtype = row.o_dtype;
  problem.measure_bias = false;
  AttentionIntervals(problem, contract, 0, 0, 0, 1, out);
}

}  // namespace bitanchor::exact
