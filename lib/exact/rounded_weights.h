// What kernels that conform make of a row by rounding its scores and weights to 16 bits, where the
// contract lets them: the errors of such roundings are known numbers, and in rows that have scores
// in common they are common too.
#ifndef BITANCHOR_LIB_EXACT_ROUNDED_WEIGHTS_H_
#define BITANCHOR_LIB_EXACT_ROUNDED_WEIGHTS_H_

#include <array>
#include <vector>

#include "lib/exact/score_row.h"

namespace bitanchor::exact {

class RoundedWeights {
 public:
  RoundedWeights() = default;  // of nobody: no errors
  // Of an ordinary row. Kernel r of kImagined has weights relative to a reference that is r/8 log 2
  // above the maximum: between them they meet every place of a weight among its neighbours.
  RoundedWeights(const ScoreRow& row, const Contract& contract, double scale);

  // For key number n of the row, P' / l' - P / l of every kernel.
  const std::array<float, kImagined>& Errors(size_t n) const { return errors_[n]; }
  double LseError() const { return lse_error_; }

 private:
  std::vector<std::array<float, kImagined>> errors_;
  double lse_error_ = 0;
};

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_ROUNDED_WEIGHTS_H_
