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
#include <span>
#include <string_view>
#include <vector>

#include "lib/recipe/interval.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

// What the errors are projected on, per element and in units of m_d:
//   kOffset  1                     always upward or downward: sums that floor
//   kGain    want                  toward zero or away from it: truncated weights, a wrong sum
//   kScale   d want / d log scale  weights too sharp or too flat: a constant of the exponent
enum class Witness { kOffset, kGain, kScale };
inline constexpr std::array<Witness, 3> kWitnesses = {Witness::kOffset, Witness::kGain,
                                                      Witness::kScale};
std::string_view Name(Witness witness);  // "offset", "gain", "scale"

// 2^-8 for bf16, 2^-11 for f16, 2^-24 for f32.
double UnitRoundoff(DType dtype);

struct BiasEstimate {
  double bias = 0;    // least squares, in units of u: error = bias * (what it is projected on)
  double sigma = 0;   // signed, in standard errors that know what errors have in common
  double effect = 0;  // |bias| times the root mean square of what it is projected on: of the errors
  int64_t clusters = 0;  // rows that differ in what was wanted
  double loss = 0;  // the bias, without its sign, that sums have which always round the same way
};

// Below so many different rows nothing is said about bias.
inline constexpr int64_t kLeastBiasRows = 32;
inline constexpr double kBiasSigma = 6;

// The sums of one or many rows of one output. Adding rows in any order and merging in any order
// gives the same estimates to the bit.
class Bias {
 public:
  explicit Bias(DType dtype) : dtype_(dtype) {}

  // Row s of head h of batch b. Elements that are not finite or whose size is not known count for
  // nothing.
  void AddRow(int64_t b, int64_t s, int64_t h, const float* got, const Interval* want, int64_t n);
  void Merge(const Bias& other);

  // Over all rows, or over those of query head h.
  BiasEstimate Estimate(Witness witness, std::optional<int64_t> h = std::nullopt) const;
  std::vector<int64_t> Heads() const;  // that have rows, ascending

 private:
  // Means over a row of e x, r x and x^2 for each witness x, and of e r, r^2 and e^2; r is the
  // error of the right rounding of what was wanted, which a right kernel shares with it as far as
  // its own errors are small beside it. It is known and no bias: e - beta r is what is looked at,
  // beta least squares over all rows.
  template <typename Number>
  struct Sums {
    std::array<Number, kWitnesses.size()> error = {}, rounding = {}, weight = {};
    Number error_rounding = 0, rounding_rounding = 0, error_error = 0;

    Sums& operator+=(const Sums& other) {
      for (size_t w = 0; w < kWitnesses.size(); ++w) {
        error[w] += other.error[w];
        rounding[w] += other.rounding[w];
        weight[w] += other.weight[w];
      }
      error_rounding += other.error_rounding;
      rounding_rounding += other.rounding_rounding;
      error_error += other.error_error;
      return *this;
    }
  };
  struct Row {
    int32_t b, h, s;
    uint32_t alike;  // a digest of what was wanted: rows with the same one err in the same way
    Sums<float> sums;
  };
  // Answers that right kernels might have given, of kImagined that round scores and weights and
  // then of four whose sums always round inward, outward, down, up: e x, e r and e^2 of each.
  static constexpr size_t kHypotheses = kImagined + 4;
  template <typename Number>
  struct Hypothesis {
    std::array<Number, kWitnesses.size()> error = {};
    Number error_rounding = 0, error_error = 0;

    Hypothesis& operator+=(const Hypothesis& other) {
      for (size_t w = 0; w < kWitnesses.size(); ++w) error[w] += other.error[w];
      error_rounding += other.error_rounding;
      error_error += other.error_error;
      return *this;
    }
  };
  template <typename Number>
  using Hypotheses = std::array<Hypothesis<Number>, kHypotheses>;
  // Over a head's rows, in fixed point, for their order must not matter.
  struct Head {
    std::vector<Sums<int64_t>> columns;  // by dimension
    Hypotheses<int64_t> hypotheses;      // of means over a row
  };

  DType dtype_;
  std::vector<Row> rows_;
  std::map<int64_t, Head> heads_;
};

// Below what a bias is no fault.
struct BiasFloor {
  double bias = 0;    // in units of u
  double effect = 0;  // of the errors it makes, in units of u m_d
};

struct BiasFinding {
  Witness witness;
  std::optional<int64_t> head;  // none: over all rows
  BiasEstimate estimate;
  BiasFloor floor;
  // Enough rows, sigma at least kBiasSigma either way, bias and effect beyond the floor.
  bool fails;
};

// Every witness asked for over all rows, and where that does not fail the heads that do. Empty
// where no row's bias was measured.
std::vector<BiasFinding> FindBias(const Bias& bias, const BiasFloor& floor,
                                  std::span<const Witness> witnesses = kWitnesses);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_BIAS_H_
