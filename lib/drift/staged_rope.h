// RoPE by a recipe of which any stage may be exact instead: what each stage's roundings cost is
// what goes away without them.
#ifndef BITANCHOR_LIB_DRIFT_STAGED_ROPE_H_
#define BITANCHOR_LIB_DRIFT_STAGED_ROPE_H_

#include <array>
#include <bitset>
#include <cstdint>
#include <string_view>
#include <vector>

#include "lib/number/cos_sin_f64.h"
#include "lib/problem/rope_config.h"
#include "lib/recipe/rope_recipe.h"

namespace bitanchor::drift {

enum class RopeStage { kInverseFrequency, kPosition, kAngle, kCosSin, kApply };
inline constexpr std::array<RopeStage, 5> kRopeStages = {RopeStage::kInverseFrequency,
                                                         RopeStage::kPosition, RopeStage::kAngle,
                                                         RopeStage::kCosSin, RopeStage::kApply};
std::string_view Name(RopeStage stage);  // "inverse-frequency", ..., "apply"

class StageSet {
 public:
  static StageSet None() { return {}; }
  static StageSet All() { return None().Complement(); }
  static StageSet Of(RopeStage stage) {
    StageSet set;
    set.bits_.set(static_cast<size_t>(stage));
    return set;
  }
  StageSet Complement() const {
    StageSet set;
    set.bits_ = ~bits_;
    return set;
  }
  bool Has(RopeStage stage) const { return bits_.test(static_cast<size_t>(stage)); }
  bool operator==(const StageSet& other) const { return bits_ == other.bits_; }

 private:
  std::bitset<kRopeStages.size()> bits_;
};

// Exact stages are those of f64: frequencies within 2^-45, the angle a double-double product, cos
// and sin within 2^-51, y unrounded. A rounded stage rounds what it gets from the ones before it,
// exact or not, to the recipe's formats. Without exact stages: the bits of lib/scalar/rope.cc.
class StagedRope {
 public:
  // config: validated, without tables. F: the model's format.
  StagedRope(const RopeConfig& config, const RopeRecipe& recipe, DType F, StageSet exact);

  int64_t Pairs() const { return config_.rotary_dim / 2; }
  DType ModelFormat() const { return F_; }
  double Frequency(int64_t pair) const { return frequencies_[static_cast<size_t>(pair)]; }

  // cos and sin of a pair at a position, 0..2^31-1. NaN where the angle overflows its format, or
  // is more than CosSinF64 takes: keep position times frequency below 2^32.
  number::CosSin Table(int64_t position, int64_t pair) const;

  // y1 = x1 c - x2 s, y2 = x2 c + x1 s. x1, x2: values of F. y may be x.
  void Rotate(double x1, double x2, const number::CosSin& t, double& y1, double& y2) const;

  // All of a head: x, y [D], table [Pairs()].
  void RotateHead(const double* x, int64_t D, const number::CosSin* table, double* y) const;

  // Whether the two give the same bits for every x and position.
  bool SameAs(const StagedRope& other) const;

  // All need round to nearest without flushing.

 private:
  number::DoubleDouble AngleOf(int64_t position, int64_t pair) const;
  double RoundedAngle(double position, double operand, int64_t pair) const;
  number::DoubleDouble ExactAngle(double position, double operand, int64_t pair) const;

  RopeConfig config_;
  RopeRecipe recipe_;
  DType F_;
  StageSet exact_;
  StageFormat operand_, angle_, table_, model_;
  float factor_;
  std::vector<double> frequencies_;  // exact
  std::vector<double> operands_;     // what the angle's rule takes beside the position
};

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_STAGED_ROPE_H_
