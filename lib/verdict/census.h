// Counting how the elements of one output stand against what was wanted. Knows neither engine:
// somebody hands it what was got and what is admissible.
#ifndef BITANCHOR_LIB_VERDICT_CENSUS_H_
#define BITANCHOR_LIB_VERDICT_CENSUS_H_

#include <array>
#include <cstdint>
#include <vector>

#include "lib/recipe/interval.h"
#include "lib/tensor/dtype.h"
#include "lib/verdict/bias.h"

namespace bitanchor {

enum class Standing { kExact, kWithin, kOutside, kNonfiniteMismatch, kUndetermined };

// [b, s, h, d]; d is -1 for LSE.
using ElementIndex = std::array<int64_t, 4>;

struct WorstElement {
  ElementIndex index;
  float got;
  Interval interval;
  double share;  // |got - want| in units of what is allowed on that side; infinite for a non-finite
                 // mismatch
};

// One judged row, in a few bytes: what pictures and signatures of places are made from.
struct RowRecord {
  int32_t b, s, h;
  int32_t wrong;     // elements outside or wrongly (not) finite
  int32_t elements;  // that were judged, undetermined ones among them
  float share;       // worst share of the bound
};

// Elements by their distance from what was wanted, in ulps of the output's format: below 1/2 (the
// right rounding), up to 1, 2, 4, ... and all beyond.
inline constexpr size_t kUlpBins = 12;
inline constexpr std::array<double, kUlpBins - 1> kUlpBinEnds = {0.5, 1,  2,   4,    8,    16,
                                                                 32,  64, 256, 1024, 65536};

// How a census compares. In replay only the bits wanted will do; or, where an interval is a set of
// bits, -0 below +0, those of the set: exact is the one of a set of one, within one of several.
enum class Strictness { kInterval, kBits, kSet };

// Order does not matter: adding the same rows in any order, on any number of censuses merged in any
// order, gives the same census to the bit.
class Census {
 public:
  static constexpr size_t kWorst = 8;  // elements kept

  explicit Census(DType dtype, Strictness strictness = Strictness::kInterval)
      : bias(dtype), dtype_(dtype), strictness_(strictness) {}

  // One row (a head of a token): got[n] against intervals[n]; element e has index {b, s, h, e}, or
  // d = -1 for an LSE (n = 1).
  void AddRow(const ElementIndex& first, const float* got, const Interval* intervals, int64_t n);
  void Merge(const Census& other);

  DType dtype() const { return dtype_; }
  int64_t elements() const { return exact + within + outside + nonfinite_mismatch + undetermined; }
  bool Failed() const { return outside + nonfinite_mismatch > 0; }

  int64_t exact = 0, within = 0, outside = 0, nonfinite_mismatch = 0, undetermined = 0;
  int64_t pinned = 0;  // of all these, elements with one admissible number
  double max_ulp = 0;  // largest |got - want|, in ulps of the output's format at the larger of both
  double max_share = 0;             // worst share of the bound
  std::vector<WorstElement> worst;  // worst first; ties by index

  std::array<int64_t, kUlpBins> by_ulp = {};  // of finite elements that are determined
  std::vector<int64_t> wrong_by_column;       // elements outside or wrongly (not) finite, by d
  Bias bias;

  std::vector<RowRecord> Rows() const;  // by batch, head and token

 private:
  Standing Judge(float got, const Interval& interval) const;
  void Keep(const WorstElement& element);

  DType dtype_;
  Strictness strictness_;
  std::vector<RowRecord> rows_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_CENSUS_H_
