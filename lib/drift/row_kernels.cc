#include "lib/drift/row_kernels.h"

#include <cmath>
#include <limits>

#include "lib/number/elementary.h"

namespace bitanchor::drift {
namespace {

void Product(const double* const rows[kRows], const double* panel, int64_t K,
             double* const out[kRows]) {
  for (int64_t r = 0; r < kRows; ++r) {
    double sum[kLanes] = {};
    for (int64_t k = 0; k < K; ++k) {
      for (int64_t lane = 0; lane < kLanes; ++lane) {
        sum[lane] += rows[r][k] * panel[k * kLanes + lane];
      }
    }
    for (int64_t lane = 0; lane < kLanes; ++lane) out[r][lane] = sum[lane];
  }
}

void Softmax(LaneRanges ranges, double scale, const double* s, double* w) {
  double m = -std::numeric_limits<double>::infinity();
  for (const auto& [begin, end] : ranges) {
    for (int64_t j = begin; j < end; ++j) m = s[j] > m ? s[j] : m;
  }
  double partial[kLanes] = {};
  for (const auto& [begin, end] : ranges) {
    for (int64_t j = begin; j < end; ++j) {
      w[j] = number::ExpF64((s[j] - m) * scale);
      partial[j % kLanes] += w[j];
    }
  }
  double sum = 0;
  for (const double x : partial) sum += x;
  for (const auto& [begin, end] : ranges) {
    for (int64_t j = begin; j < end; ++j) w[j] /= sum;
  }
}

void Compare(LaneRanges ranges, const double* s, const double* s_other, const double* w,
             const double* w_other, double* difference, double* signed_sum, double* abs_sum,
             double* logit_sum) {
  for (const auto& [begin, end] : ranges) {
    for (int64_t j = begin; j < end; ++j) {
      difference[j] = w[j] - w_other[j];
      signed_sum[j] += difference[j];
      abs_sum[j] += std::fabs(difference[j]);
      logit_sum[j] += std::fabs(s[j] - s_other[j]);
    }
  }
}

}  // namespace

const RowKernels& PortableRowKernels() {
  static constexpr RowKernels kKernels = {Product, Softmax, Compare};
  return kKernels;
}

}  // namespace bitanchor::drift
