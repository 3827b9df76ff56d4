// The three loops that drift spends its time in, as plain functions, so that simd/f64_rows.h's may
// stand in for them: the same bits. All of them need round to nearest.
#ifndef BITANCHOR_LIB_DRIFT_ROW_KERNELS_H_
#define BITANCHOR_LIB_DRIFT_ROW_KERNELS_H_

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace bitanchor::drift {

inline constexpr int64_t kLanes = 8;  // numbers of a panel, whatever a machine's vectors hold
inline constexpr int64_t kRows = 8;   // rows multiplied with a panel at a time

// Numbers [begin, end) of a row; both are multiples of kLanes.
using LaneRange = std::array<int64_t, 2>;
using LaneRanges = std::span<const LaneRange>;

struct RowKernels {
  // out[r][lane] = sum_k rows[r][k] panel[k kLanes + lane], k ascending from 0 to K-1; each product
  // and each sum rounded. Some of the pointers may be the same.
  void (*product)(const double* const rows[kRows], const double* panel, int64_t K,
                  double* const out[kRows]);

  // w_j = e^((s_j - m) scale) / sum over the ranges, m their maximum; the sum is that of 8 partial
  // ones, of j mod 8, in order. s_j = -inf weighs 0.
  void (*softmax)(LaneRanges ranges, double scale, const double* s, double* w);

  // difference_j = w_j - w'_j, added with and without its sign, and |s_j - s'_j|.
  void (*compare)(LaneRanges ranges, const double* s, const double* s_other, const double* w,
                  const double* w_other, double* difference, double* signed_sum, double* abs_sum,
                  double* logit_sum);
};

// The definition.
const RowKernels& PortableRowKernels();

// A matrix [count, width] in panels of 8 columns: element (k, c) at panel c / 8, [k, c mod 8].
class Panels {
 public:
  Panels() = default;
  Panels(int64_t rows, int64_t columns)
      : rows_(rows), data_(static_cast<size_t>(rows * Padded(columns))) {}

  static int64_t Padded(int64_t n) { return (n + kLanes - 1) / kLanes * kLanes; }

  double& At(int64_t row, int64_t column) {
    return data_[static_cast<size_t>((column / kLanes * rows_ + row) * kLanes + column % kLanes)];
  }
  // Columns [8 panel, 8 panel + 8): [rows][8].
  const double* Panel(int64_t panel) const { return data_.data() + panel * rows_ * kLanes; }
  bool empty() const { return data_.empty(); }

 private:
  int64_t rows_ = 0;
  std::vector<double> data_;
};

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_ROW_KERNELS_H_
