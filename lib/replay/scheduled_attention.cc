#include "lib/replay/scheduled_attention.h"

#include <array>
#include <cassert>

#include "lib/matrix_unit/dot_add.h"
#include "lib/matrix_unit/hull.h"
#include "lib/replay/flushed_arithmetic.h"

namespace bitanchor::replay {
namespace {

using matrix_unit::Hull;
using matrix_unit::Model;
using Operands = std::vector<Unpacked>;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool IsMinusInfinity(const Admissible& x) { return x.IsPinned() && x.low == -kInfinity; }

Hull HullOf(const Model& model, const Admissible& x) {
  const auto bits = [&](float number) {
    return std::isnan(number) ? model.f32.nan : std::bit_cast<uint32_t>(number);
  };
  return {bits(x.low), bits(x.high)};
}

Admissible AdmissibleOf(const Hull& hull) {
  return {std::bit_cast<float>(hull.low), std::bit_cast<float>(hull.high)};
}

Admissible Rounded(DType dtype, const Admissible& x) {
  return {RoundTo(dtype, x.low), RoundTo(dtype, x.high)};
}

// A number of the unit's input format.
Unpacked OperandOf(const Model& model, float x) {
  const uint32_t bits = model.dtype == DType::kBF16 ? ToBF16(x).bits : ToF16(x).bits;
  return matrix_unit::Operand(model, bits);
}

// c + a . b, groups in ascending order.
Admissible ChainHull(const Model& model, std::span<const Unpacked> a_low,
                     std::span<const Unpacked> a_high, std::span<const Unpacked> b,
                     const Admissible& c) {
  Hull sum = HullOf(model, c);
  const size_t L = static_cast<size_t>(model.products);
  for (size_t at = 0; at < b.size(); at += L) {
    const size_t count = std::min(L, b.size() - at);
    sum = matrix_unit::DotAddHull(model, model.f32, a_low.subspan(at, count),
                                  a_high.subspan(at, count), b.subspan(at, count), sum);
  }
  return AdmissibleOf(sum);
}

// One query: its running maximum, sums and output.
class Row {
 public:
  Row(const AttentionProblem& problem, const Schedule& schedule, const SpecialFunctions& functions,
      const Sequence& sequence, int64_t h, int64_t n)
      : problem_(problem),
        schedule_(schedule),
        functions_(functions),
        sequence_(sequence),
        model_(*matrix_unit::FindModel(schedule.unit, problem.dtype)),
        n_(n),
        key_head_(problem.shape.KeyHead(h)),
        c_(ExponentScale(problem.softmax_scale)),
        q_(Token(problem.q, sequence.queries[static_cast<size_t>(n)], h)),
        l_(schedule.row_sum == RowSum::kQuads ? 4 : 1),
        o_(static_cast<size_t>(problem.shape.D)) {}

  // The tile of keys [from, from + Tk), the step-th that the kernel goes through.
  void AddTile(int64_t from, int64_t step) {
    const std::vector<Admissible> s = Scores(from);
    const Admissible M = MaximumWith(s);
    const Admissible f = step == 0 ? Admissible() : Rescaling(M, step);
    const std::vector<Admissible> p = Weights(s, M);
    AddToSums(p, f, step == 0);
    if (step > 0) {
      for (Admissible& o : o_) o = Multiply(o, f);
    }
    AddToOutput(p, from);
    M_ = M;
  }

  ScheduledRow Answer() const {
    const Admissible l = Sum();
    ScheduledRow row;
    for (const Admissible& o : o_) {
      row.o.push_back(Rounded(problem_.dtype, Normalised(o, l)));
    }
    row.lse = LSE(l);
    return row;
  }

 private:
  Operands Token(const TensorView& tensor, int64_t token, int64_t head) const {
    Operands numbers;
    for (int64_t d = 0; d < problem_.shape.D; ++d) {
      numbers.push_back(OperandOf(model_, tensor.At(sequence_.b, token, head, d)));
    }
    return numbers;
  }

  std::vector<Admissible> Scores(int64_t from) const {
    std::vector<Admissible> s(static_cast<size_t>(sequence_.tile.keys), -kInfinity);
    const int64_t end = std::min(from + sequence_.tile.keys, sequence_.Visible(n_));
    for (int64_t j = from; j < end; ++j) {
      const Operands k = Token(problem_.k, sequence_.keys[static_cast<size_t>(j)], key_head_);
      s[static_cast<size_t>(j - from)] = ChainHull(model_, q_, q_, k, 0.0f);
    }
    return s;
  }

  Admissible MaximumWith(const std::vector<Admissible>& s) const {
    Admissible M = M_;
    for (const Admissible& score : s) M = Max(M, score);
    return M;
  }

  Admissible Rescaling(const Admissible& M, int64_t step) const {
    const bool guarded = step < sequence_.MaskedTiles();
    const Admissible from = guarded && IsMinusInfinity(M) ? Admissible(0.0f) : M;
    return functions_.Exp2(Multiply(Subtract(M_, from), c_));
  }

  std::vector<Admissible> Weights(const std::vector<Admissible>& s, const Admissible& M) const {
    // A set with -inf and more in it would need both branches: no finite scores lead here.
    const Admissible maximum = IsMinusInfinity(M)    ? Admissible(0.0f)
                               : M.low == -kInfinity ? Admissible::Anything()
                                                     : M;
    const Admissible minus_scaled = Negative(Multiply(maximum, c_));
    std::vector<Admissible> p;
    for (const Admissible& score : s) {
      Admissible argument;
      switch (schedule_.exp_argument) {
        case ExpArgument::kFused:
          argument = Fma(score, c_, minus_scaled);
          break;
        case ExpArgument::kScaled:
          argument = Add(Multiply(score, c_), minus_scaled);
          break;
        case ExpArgument::kShifted:
          argument = Multiply(Subtract(score, maximum), c_);
          break;
      }
      p.push_back(functions_.Exp2(argument));
    }
    return p;
  }

  void AddToSums(const std::vector<Admissible>& p, const Admissible& f, bool first_tile) {
    std::vector<bool> begun(l_.size(), false);
    for (size_t j = 0; j < p.size(); ++j) {
      const size_t t = l_.size() == 1 ? 0 : j % 8 / 2;
      if (begun[t]) {
        l_[t] = Add(l_[t], p[j]);
      } else if (first_tile) {
        l_[t] = p[j];
      } else if (schedule_.fused_row_sum) {
        l_[t] = Fma(l_[t], f, p[j]);
      } else {
        l_[t] = Add(Multiply(l_[t], f), p[j]);
      }
      begun[t] = true;
    }
  }

  void AddToOutput(const std::vector<Admissible>& p, int64_t from) {
    for (const Admissible& weight : p) {
      if (!weight.IsAnything()) continue;
      o_.assign(o_.size(), Admissible::Anything());
      return;
    }
    Operands low, high;
    // [D][Tk], past the last key +0 of the input format, as error bounds look at exponents.
    std::vector<Operands> v(o_.size(), Operands(p.size(), OperandOf(model_, 0)));
    for (size_t j = 0; j < p.size(); ++j) {
      low.push_back(OperandOf(model_, p[j].low));
      high.push_back(OperandOf(model_, p[j].high));
      const size_t key = static_cast<size_t>(from) + j;
      if (key >= sequence_.keys.size()) continue;
      const Operands token = Token(problem_.v, sequence_.keys[key], key_head_);
      for (size_t d = 0; d < v.size(); ++d) v[d][j] = token[d];
    }
    for (size_t d = 0; d < o_.size(); ++d) o_[d] = ChainHull(model_, low, high, v[d], o_[d]);
  }

  Admissible Sum() const {
    if (l_.size() == 1) return l_[0];
    return Add(Add(l_[0], l_[2]), Add(l_[1], l_[3]));
  }

  // Whether l is surely, or perhaps, what the kernel takes for an empty sum.
  static bool IsEmpty(const Admissible& l) { return l.IsNaN() || (l.low == 0 && l.high == 0); }
  static bool MayBeEmpty(const Admissible& l) { return l.IsAnything() || l.low == 0; }
  static Admissible NotEmpty(const Admissible& l) { return {std::max(l.low, 0x1p-126f), l.high}; }

  Admissible Normalised(const Admissible& o, const Admissible& l) const {
    if (IsEmpty(l)) return Multiply(o, 1.0f);
    if (l.IsAnything()) return l;
    const auto by = [&](const Admissible& sum) {
      return schedule_.normalisation == Normalisation::kDivision
                 ? Divide(o, sum)
                 : Multiply(o, functions_.Reciprocal(sum));
    };
    return MayBeEmpty(l) ? Union(Multiply(o, 1.0f), by(NotEmpty(l))) : by(l);
  }

  Admissible LSE(const Admissible& l) const {
    if (IsEmpty(l)) return kInfinity;
    if (l.IsAnything()) return l;
    constexpr float kLn2 = 0x1.62e43p-1f;
    const Admissible scale = problem_.softmax_scale;
    const Admissible log2 = functions_.Log2(MayBeEmpty(l) ? NotEmpty(l) : l);
    const Admissible product = Multiply(log2, kLn2), scaled = Multiply(M_, scale);
    const Admissible lse =
        Union(Add(scaled, product), Union(Fma(M_, scale, product), Fma(log2, kLn2, scaled)));
    return MayBeEmpty(l) ? Union(lse, kInfinity) : lse;
  }

  const AttentionProblem& problem_;
  const Schedule& schedule_;
  const SpecialFunctions& functions_;
  const Sequence& sequence_;
  const Model& model_;
  const int64_t n_, key_head_;
  const Admissible c_;
  const Operands q_;
  Admissible M_ = std::numeric_limits<float>::quiet_NaN();
  std::vector<Admissible> l_, o_;
};

}  // namespace

float ExponentScale(float softmax_scale) {
  constexpr double kLog2E = 0x1.71547652b82fep+0;  // M_LOG2E
  return RoundToF32(ToF64(softmax_scale) * kLog2E);
}

ScheduledRow AnswerOf(const AttentionProblem& problem, const Schedule& schedule,
                      const SpecialFunctions& functions, const Sequence& sequence, int64_t h,
                      int64_t n) {
  assert(matrix_unit::FindModel(schedule.unit, problem.dtype) != nullptr);
  const int64_t tiles = sequence.Tiles(n);
  if (tiles == 0) {
    return {std::vector<Admissible>(static_cast<size_t>(problem.shape.D)), kInfinity};
  }
  Row row(problem, schedule, functions, sequence, h, n);
  for (int64_t step = 0; step < tiles; ++step) {
    const int64_t tile = schedule.order == TileOrder::kLastFirst ? tiles - 1 - step : step;
    row.AddTile(tile * sequence.tile.keys, step);
  }
  return row.Answer();
}

}  // namespace bitanchor::replay
