// One row of a gradient, dq of a query or dk or dv of a key, as a sum over pairs: what is exact,
// how far a kernel's terms may be, and what summing them may cost.
#ifndef BITANCHOR_LIB_EXACT_GRADIENT_SUM_H_
#define BITANCHOR_LIB_EXACT_GRADIENT_SUM_H_

#include <cstdint>
#include <vector>

#include "lib/recipe/interval.h"

namespace bitanchor::exact {

class GradientSum {
 public:
  // A kernel may store its running sum after each tile of so many tokens.
  GradientSum(int64_t head_dim, int64_t tile_tokens);

  // What is added until the next call belongs to this head and token. Heads ascend, and tokens
  // within a head.
  void StartPair(int64_t head, int64_t token);

  // One term of element d: its exact value, how far a kernel's may be, and the largest magnitude of
  // that.
  void Add(int64_t d, double term, double error, double most) {
    value_[d] += term;
    error_[d] += error;
    most_[d] += most;
  }
  // An error that terms have in common.
  void AddError(int64_t d, double error) { error_[d] += error; }

  // The interval of element d of scale times the sum, in `ends`, for kernels that store the
  // gradient in `stored`: {0, 0, 0} where nothing was added, undetermined where the sum may
  // overflow.
  Interval Finished(int64_t d, const Contract& contract, double scale, DType stored,
                    DType ends) const;

 private:
  struct Boundary {
    bool ends_head;
    std::vector<double> sum;  // [D], of all tiles up to it
  };
  double StoreError(int64_t d, const OutputRounding& rounding, double error) const;

  int64_t tile_tokens_, head_ = -1, token_ = -1, addends_ = 0;
  int64_t runs_ = 0;  // of consecutive tokens of a head
  std::vector<double> value_, error_, most_;
  std::vector<Boundary> boundaries_;
};

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_GRADIENT_SUM_H_
