#include "lib/exact/rope_interval.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"
#include "lib/number/format.h"

namespace bitanchor::exact {
namespace {

double UlpF32(float x) {
  const float size = std::fabs(x);
  return static_cast<double>(std::nextafterf(size, std::numeric_limits<float>::infinity())) - size;
}

enum class Fusing { kNone, kFirst, kSecond };

// first * c1 -+ second * c2, as an apply stage rounds it.
float Combine(RopeApply apply, Fusing fusing, DType F, float a, float b, float c, float d) {
  if (apply == RopeApply::kThreeRoundings) {
    const float ab = RoundTo(F, static_cast<double>(a) * b),
                cd = RoundTo(F, static_cast<double>(c) * d);
    return F == DType::kF32 ? ab + cd : RoundTo(F, static_cast<double>(ab) + cd);
  }
  if (fusing == Fusing::kFirst) return RoundTo(F, std::fma(a, b, c * d));
  if (fusing == Fusing::kSecond) return RoundTo(F, std::fma(c, d, a * b));
  return RoundTo(F, a * b + c * d);
}

struct Product {
  float a, b;
};

// The factors from these ranges whose product is least, or greatest.
Product Extreme(float a_low, float a_high, float b_low, float b_high, bool greatest) {
  Product best = {a_low, b_low};
  for (const Product p : {Product{a_low, b_high}, {a_high, b_low}, {a_high, b_high}}) {
    const double mine = static_cast<double>(p.a) * p.b, its = static_cast<double>(best.a) * best.b;
    if (greatest ? mine > its : mine < its) best = p;
  }
  return best;
}

// With or without a rounding to F.
Interval MaybeRounded(DType F, const Interval& x) {
  return {x.want, std::min(x.low, RoundTo(F, x.low)), std::max(x.high, RoundTo(F, x.high))};
}

Interval Negated(const Interval& x) { return {-x.want, -x.high, -x.low}; }

}  // namespace

std::vector<std::vector<int>> FrequencyFreedom(const RopeConfig& config) {
  if (!config.inv_freq.empty() || !config.cos.empty()) return {{}};
  std::vector<std::vector<int>> choices;
  for (const int ulp : kFrequencyUlps) {
    choices.emplace_back(static_cast<size_t>(config.rotary_dim / 2), ulp);
  }
  return choices;
}

RopeIntervals::RopeIntervals(const RopeConfig& config, const RopeRecipe& recipe, DType F,
                             double libm_ulp, const std::vector<std::vector<int>>& choices)
    : config_(config),
      recipe_(recipe),
      F_(F),
      libm_ulp_(libm_ulp),
      factor_(AttentionFactor(config)) {
  if (!config.cos.empty()) return;
  for (const std::vector<int>& ulps : choices) {
    operands_.push_back(AngleOperands(config, recipe, F, ulps));
  }
}

// What a libm may return where the correctly rounded result is `rounded`: the true value is within
// half an ulp of that.
RopeIntervals::Range RopeIntervals::Libm(float rounded) const {
  const double reach = (libm_ulp_ + 0.5) * UlpF32(rounded);
  const StageFormat table = FormatOf(recipe_.table, F_);
  // Towards `rounded`: only f32 values within reach are results a libm may give.
  const float low = RoundToF32(rounded - reach, Rounding::kUp);
  const float high = RoundToF32(rounded + reach, Rounding::kDown);
  return {RoundTo(table, rounded * factor_), RoundTo(table, low * factor_),
          RoundTo(table, high * factor_)};
}

// Infinite angles, f16's, make NaN: the range of another choice says nothing then, nor does theirs
// of it.
RopeIntervals::Range RopeIntervals::Hull(const Range& one, const Range& other) {
  if (std::isnan(other.want)) return one;
  return {one.want, std::min(one.low, other.low), std::max(one.high, other.high)};
}

RopeIntervals::TableEntry RopeIntervals::Entry(int64_t position, int64_t i) const {
  if (!config_.cos.empty()) {
    const int64_t at = position * (config_.rotary_dim / 2) + i;
    const StageFormat table = FormatOf(recipe_.table, F_);
    const float c = RoundTo(table, config_.cos[at]), s = RoundTo(table, config_.sin[at]);
    return {{c, c, c}, {s, s, s}};
  }
  TableEntry entry = Computed(operands_.front(), position, i);
  for (size_t n = 1; n < operands_.size(); ++n) {
    if (operands_[n][i] == operands_.front()[i]) continue;
    const TableEntry other = Computed(operands_[n], position, i);
    entry.c = Hull(entry.c, other.c);
    entry.s = Hull(entry.s, other.s);
  }
  return entry;
}

RopeIntervals::TableEntry RopeIntervals::Computed(const std::vector<float>& operands,
                                                  int64_t position, int64_t i) const {
  const float angle = Angle(recipe_, F_, position, operands[i], i);
  return {Libm(number::Cos(angle)), Libm(number::Sin(angle))};
}

// y1 = x1 c - x2 s, y2 = x2 c + x1 s. Every rounding is monotone, so the ends of c and s give the
// ends of y.
void RopeIntervals::Rotated(float x1, float x2, const TableEntry& t, Interval& y1,
                            Interval& y2) const {
  // Operand order: x1's product comes first, as kF32FmaX1 fuses it.
  const bool x1_fused = recipe_.apply == RopeApply::kF32FmaX1;
  const Fusing own = x1_fused ? Fusing::kFirst : Fusing::kNone;
  const auto first = [&](Fusing f, float c, float s) {
    return Combine(recipe_.apply, f, F_, x1, c, -x2, s);
  };
  const auto second = [&](Fusing f, float c, float s) {
    return Combine(recipe_.apply, f, F_, x1, s, x2, c);
  };
  const float want1 = first(own, t.c.want, t.s.want), want2 = second(own, t.c.want, t.s.want);
  y1 = {want1, want1, want1};
  y2 = {want2, want2, want2};
  const auto widen = [](Interval& y, float value) {
    if (std::isnan(y.low)) return;
    if (std::isnan(value)) {  // Inf - Inf under one choice and not under another: nothing decides
      y = {std::numeric_limits<double>::quiet_NaN(), 1, -1};
      return;
    }
    y.low = std::min(y.low, value);
    y.high = std::max(y.high, value);
  };
  const bool pinned = t.c.low == t.c.high && t.s.low == t.s.high;
  const bool any_fusing = recipe_.apply == RopeApply::kF32;
  if (pinned && !any_fusing) return;
  for (const Fusing f : {Fusing::kNone, Fusing::kFirst, Fusing::kSecond}) {
    if (f != own && !any_fusing) continue;
    for (int corner = 0; corner < (pinned ? 1 : 4); ++corner) {
      const float c = corner & 1 ? t.c.high : t.c.low, s = corner & 2 ? t.s.high : t.s.low;
      widen(y1, first(f, c, s));
      widen(y2, second(f, c, s));
    }
  }
}

// x1 c + x2 s, monotone in both products.
Interval RopeIntervals::Turned(const Interval& x1, const Range& c, const Interval& x2,
                               const Range& s) const {
  Interval y = {x1.want * c.want + x2.want * s.want, std::numeric_limits<float>::infinity(),
                -std::numeric_limits<float>::infinity()};
  for (const Fusing fusing : {Fusing::kNone, Fusing::kFirst, Fusing::kSecond}) {
    for (const bool greatest : {false, true}) {
      const Product first = Extreme(x1.low, x1.high, c.low, c.high, greatest);
      const Product second = Extreme(x2.low, x2.high, s.low, s.high, greatest);
      const float end = Combine(recipe_.apply, fusing, F_, first.a, first.b, second.a, second.b);
      if (std::isnan(end)) return kUndeterminedInterval;
      y.low = std::min(y.low, end);
      y.high = std::max(y.high, end);
    }
  }
  return y;
}

// dx1 = dy1 c + dy2 s, dx2 = dy2 c - dy1 s.
void RopeIntervals::Gradient(const Interval* rotated, int64_t head_dim, int64_t position,
                             Interval* out) const {
  const FloatEnvironment environment;
  for (int64_t i = 0; i < config_.rotary_dim / 2; ++i) {
    const auto [d1, d2] = PairDimensions(config_, i);
    const Interval dy1 = rotated[d1], dy2 = rotated[d2];
    if (std::isnan(dy1.low) || std::isnan(dy2.low)) {
      out[d1] = out[d2] = kNaNInterval;
    } else if (dy1.low > dy1.high || dy2.low > dy2.high) {
      out[d1] = out[d2] = kUndeterminedInterval;
    } else {
      const TableEntry t = Entry(position, i);
      const Interval x1 = MaybeRounded(F_, dy1), x2 = MaybeRounded(F_, dy2);
      out[d1] = Turned(x1, t.c, x2, t.s);
      out[d2] = Turned(x2, t.c, Negated(x1), t.s);
    }
  }
  for (int64_t d = config_.rotary_dim; d < head_dim; ++d) {
    const Interval& x = rotated[d];
    out[d] = x.low <= x.high ? RoundedInterval(F_, x.want, x.low, x.high) : x;
  }
}

void RopeIntervals::Pair(const TensorView& in, int64_t b, int64_t s, int64_t position, int64_t i,
                         std::vector<PairIntervals>& out) const {
  const TableEntry entry = Entry(position, i);
  const auto [d1, d2] = PairDimensions(config_, i);
  out.resize(in.shape[2]);
  for (int64_t h = 0; h < in.shape[2]; ++h) {
    Rotated(in.At(b, s, h, d1), in.At(b, s, h, d2), entry, out[h].y1, out[h].y2);
  }
}

void RopeIntervals::Token(const TensorView& in, int64_t b, int64_t s, int64_t position,
                          std::vector<Interval>& out) const {
  const FloatEnvironment environment;
  const int64_t H = in.shape[2], D = in.shape[3];
  out.resize(H * D);
  std::vector<PairIntervals> heads;
  for (int64_t i = 0; i < config_.rotary_dim / 2; ++i) {
    Pair(in, b, s, position, i, heads);
    const auto [d1, d2] = PairDimensions(config_, i);
    for (int64_t h = 0; h < H; ++h) {
      out[h * D + d1] = heads[h].y1;
      out[h * D + d2] = heads[h].y2;
    }
  }
  for (int64_t d = config_.rotary_dim; d < D; ++d) {
    for (int64_t h = 0; h < H; ++h) {
      const float x = in.At(b, s, h, d);
      out[h * D + d] = {x, x, x};
    }
  }
}

}  // namespace bitanchor::exact
