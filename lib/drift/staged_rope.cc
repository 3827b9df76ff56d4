#include "lib/drift/staged_rope.h"

#include <cassert>
#include <cmath>

#include "lib/drift/exact_frequency.h"
#include "lib/number/elementary.h"
#include "lib/number/elementary_accurate.h"
#include "lib/number/format.h"

namespace bitanchor::drift {
namespace {

using number::CosSin;
using number::DoubleDouble;

// What the recipe's rule takes beside the position, unrounded.
std::vector<double> ExactOperands(const RopeConfig& config, const RopeRecipe& recipe,
                                  const std::vector<double>& frequencies) {
  std::vector<double> operands = frequencies;
  if (recipe.rule == AngleRule::kDivision) {
    for (double& x : operands) x = 1 / x;
  } else if (recipe.rule == AngleRule::kIterated) {
    const double log_theta = number::accurate::Log(static_cast<float>(config.rope_theta)).hi;
    const double ratio = number::ExpF64(-2 * log_theta / static_cast<double>(config.rotary_dim));
    operands.assign(frequencies.size(), ratio);
  }
  return operands;
}

double RoundedToF32(double x) { return static_cast<float>(x); }

// As RoundTo, which takes longer where x is no f32 value.
double Rounded(StageFormat format, double x) {
  const float in_f32 = static_cast<float>(x);
  if (static_cast<double>(in_f32) != x) return RoundTo(format, x);
  if (format == StageFormat::kBF16) return ToF32(ToBF16(in_f32));
  return format == StageFormat::kF32 ? in_f32 : RoundTo(format, x);
}

// RN_f32(x y + z); x and z are f32, and so is y unless its stage is exact.
double FusedF32(double x, double y, double z) {
  const float x32 = static_cast<float>(x), y32 = static_cast<float>(y), z32 = static_cast<float>(z);
  if (static_cast<double>(y32) == y) return std::fma(x32, y32, z32);
  return RoundToF32(number::RoundToOdd(number::TwoProduct(x, y) + DoubleDouble{z, 0}));
}

}  // namespace

std::string_view Name(RopeStage stage) {
  switch (stage) {
    case RopeStage::kInverseFrequency:
      return "inverse-frequency";
    case RopeStage::kPosition:
      return "position";
    case RopeStage::kAngle:
      return "angle";
    case RopeStage::kCosSin:
      return "cos-sin";
    case RopeStage::kApply:
      return "apply";
  }
  return "";
}

StagedRope::StagedRope(const RopeConfig& config, const RopeRecipe& recipe, DType F, StageSet exact)
    : config_(config),
      recipe_(recipe),
      F_(F),
      exact_(exact),
      operand_(FormatOf(recipe.operands, F)),
      angle_(FormatOf(recipe.angle, F)),
      table_(FormatOf(recipe.table, F)),
      model_(FormatOf(StageFormat::kModel, F)),
      factor_(AttentionFactor(config)),
      frequencies_(ExactInverseFrequencies(config)) {
  assert(config.cos.empty());
  if (exact.Has(RopeStage::kInverseFrequency)) {
    operands_ = ExactOperands(config, recipe, frequencies_);
  } else {
    for (const float x : AngleOperands(config, recipe, F)) operands_.push_back(x);
  }
}

// As Angle of lib/recipe/rope_recipe.h rounds it, of what need not be f32.
double StagedRope::RoundedAngle(double position, double operand, int64_t pair) const {
  double angle = position;
  switch (recipe_.rule) {
    case AngleRule::kProduct:
      angle = position * operand;
      break;
    case AngleRule::kDivision:
      angle = position / operand;
      break;
    case AngleRule::kIterated:
      for (int64_t n = 0; n < pair; ++n) angle = RoundedToF32(angle * operand);
      break;
  }
  if (operand_ == StageFormat::kF32) angle = RoundedToF32(angle);
  return RoundTo(angle_, angle);
}

DoubleDouble StagedRope::ExactAngle(double position, double operand, int64_t pair) const {
  switch (recipe_.rule) {
    case AngleRule::kProduct:
      break;
    case AngleRule::kDivision:
      return DoubleDouble{position, 0} / DoubleDouble{operand, 0};
    case AngleRule::kIterated: {
      DoubleDouble angle = {position, 0};
      for (int64_t n = 0; n < pair; ++n) angle = angle * DoubleDouble{operand, 0};
      return angle;
    }
  }
  return number::TwoProduct(position, operand);
}

DoubleDouble StagedRope::AngleOf(int64_t position, int64_t pair) const {
  const double exact_position = static_cast<double>(position);
  const double p =
      exact_.Has(RopeStage::kPosition) ? exact_position : RoundTo(operand_, exact_position);
  const double operand = operands_[static_cast<size_t>(pair)];
  if (exact_.Has(RopeStage::kAngle)) return ExactAngle(p, operand, pair);
  return {RoundedAngle(p, operand, pair), 0};
}

CosSin StagedRope::Table(int64_t position, int64_t pair) const {
  const DoubleDouble angle = AngleOf(position, pair);
  const float in_f32 = static_cast<float>(angle.hi);
  const bool is_f32 = angle.lo == 0 && static_cast<double>(in_f32) == angle.hi;
  const double factor = factor_;
  if (!std::isfinite(angle.hi)) return {std::nan(""), std::nan("")};
  if (exact_.Has(RopeStage::kCosSin)) {
    const CosSin t = number::CosSinF64(angle);
    return {t.c * factor, t.s * factor};
  }
  CosSin t;  // correctly rounded to f32
  if (is_f32) {
    t = {number::Cos(in_f32), number::Sin(in_f32)};
  } else {
    t = number::CosSinF64(angle);
    t = {RoundedToF32(t.c), RoundedToF32(t.s)};
  }
  return {RoundTo(table_, RoundedToF32(t.c * factor)), RoundTo(table_, RoundedToF32(t.s * factor))};
}

void StagedRope::Rotate(double x1, double x2, const CosSin& t, double& y1, double& y2) const {
  const auto [c, s] = t;
  const double x1c = x1 * c, x2s = x2 * s, x2c = x2 * c, x1s = x1 * s;
  if (exact_.Has(RopeStage::kApply)) {
    y1 = x1c - x2s;
    y2 = x2c + x1s;
    return;
  }
  switch (recipe_.apply) {
    case RopeApply::kThreeRoundings: {
      // The sum of two values of F, rounded to f64 and then to F, is rounded right.
      const auto round = [&](double x) { return Rounded(model_, x); };
      y1 = round(round(x1c) - round(x2s));
      y2 = round(round(x2c) + round(x1s));
      return;
    }
    case RopeApply::kF32:
      y1 = Rounded(model_, RoundedToF32(RoundedToF32(x1c) - RoundedToF32(x2s)));
      y2 = Rounded(model_, RoundedToF32(RoundedToF32(x2c) + RoundedToF32(x1s)));
      return;
    case RopeApply::kF32FmaX1:
      y1 = Rounded(model_, FusedF32(x1, c, -RoundedToF32(x2s)));
      y2 = Rounded(model_, FusedF32(x1, s, RoundedToF32(x2c)));
      return;
  }
}

void StagedRope::RotateHead(const double* x, int64_t D, const CosSin* table, double* y) const {
  for (int64_t i = 0; i < Pairs(); ++i) {
    const auto [d1, d2] = PairDimensions(config_, i);
    Rotate(x[d1], x[d2], table[i], y[d1], y[d2]);
  }
  for (int64_t d = config_.rotary_dim; d < D; ++d) y[d] = x[d];
}

bool StagedRope::SameAs(const StagedRope& other) const {
  const auto apply = [](const StagedRope& rope) {  // three roundings to f32 are f32's
    return rope.F_ == DType::kF32 && rope.recipe_.apply == RopeApply::kThreeRoundings
               ? RopeApply::kF32
               : rope.recipe_.apply;
  };
  return F_ == other.F_ && exact_ == other.exact_ && config_.pairing == other.config_.pairing &&
         config_.rotary_dim == other.config_.rotary_dim && factor_ == other.factor_ &&
         recipe_.rule == other.recipe_.rule && operand_ == other.operand_ &&
         angle_ == other.angle_ && table_ == other.table_ && apply(*this) == apply(other) &&
         operands_ == other.operands_;
}

}  // namespace bitanchor::drift
