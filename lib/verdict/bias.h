// Systematic errors that hide inside intervals: the signed error of every element in units of its
// own rounding, e / (u m_d), u the unit roundoff of the output's type and m_d = sum_j p_j |v_jd|,
// projected on what a systematic fault would do to it. A right kernel's errors scatter around 0;
// weights that are truncated, a constant of the softmax that is a little off or sums that round
// always downward move their mean. Derivation: lib/NUMERICS.md, "Bias".
#ifndef BITANCHOR_LIB_VERDICT_BIAS_H_
#define BITANCHOR_LIB_VERDICT_BIAS_H_

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string_view>
#include <vector>

#include "lib/recipe/interval.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

// What the errors are projected on, per element and in units of m_d:
//   kOffset  1                    always upward or downward: sums that floor
//   kGain    want                 always toward zero or away from it: truncated weights, a wrong
//   sum kScale   d want / d log scale weights too sharp or too flat: a constant of the exponent
enum class Witness { kOffset, kGain, kScale };
inline constexpr std::array<Witness, 3> kWitnesses = {Witness::kOffset, Witness::kGain,
                                                      Witness::kScale};
std::string_view Name(Witness witness);  // "offset", "gain", "scale"

// 2^-8 for bf16, 2^-11 for f16, 2^-24 for f32.
double UnitRoundoff(DType dtype);

struct BiasEstimate {
  double bias = 0;       // least squares, in units of u: error = bias * (what it is projected on)
  double sigma = 0;      // signed, in standard errors that know what errors have in common
  int64_t clusters = 0;  // rows that differ in what was wanted
};

// Below so many different rows nothing is said about bias.
inline constexpr int64_t kLeastBiasRows = 32;
inline constexpr double kBiasSigma = 6;

// The sums of one or many rows of one output. Adding rows in any order and merging in any order
// gives the same estimates to the bit.
class Bias {
 public:
  explicit Bias(DType dtype) : unit_(UnitRoundoff(dtype)) {}

  // Row s of head h of batch b. Elements that are not finite or whose size is not known count for
  // nothing.
  void AddRow(int64_t b, int64_t s, int64_t h, const float* got, const Interval* want, int64_t n);
  void Merge(const Bias& other);

  // Over all rows, or over those of query head h.
  BiasEstimate Estimate(Witness witness, std::optional<int64_t> h = std::nullopt) const;
  std::vector<int64_t> Heads() const;  // that have rows, ascending

 private:
  using Projections = std::array<float, kWitnesses.size()>;
  struct Row {
    int32_t b, h, s;
    uint32_t alike;  // a digest of what was wanted: rows with the same one err in the same way
    Projections error = {}, weight = {};  // means over the row of e x and of x^2
  };
  // The same of one dimension of a head, summed over rows in fixed point: their order must not
  // matter.
  struct Column {
    std::array<int64_t, kWitnesses.size()> error = {}, weight = {};
  };

  double unit_;
  std::vector<Row> rows_;
  std::map<int64_t, std::vector<Column>> columns_;  // by head, then by dimension
};

struct BiasFinding {
  Witness witness;
  std::optional<int64_t> head;  // none: over all rows
  BiasEstimate estimate;
  double floor;  // units of u
  bool fails;    // enough rows, sigma at least kBiasSigma either way, and bias beyond the floor
};

// Every witness over all rows, and where that does not fail the heads that do. Empty where no row's
// bias was measured.
std::vector<BiasFinding> FindBias(const Bias& bias, double floor);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_BIAS_H_
