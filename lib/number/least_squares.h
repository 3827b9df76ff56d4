// Linear least squares with few unknowns, by its normal equations.
#ifndef BITANCHOR_LIB_NUMBER_LEAST_SQUARES_H_
#define BITANCHOR_LIB_NUMBER_LEAST_SQUARES_H_

#include <cmath>
#include <cstddef>
#include <vector>

namespace bitanchor::number {

// The equations sum_n a[n] x[n] = y, added one by one.
class LeastSquares {
 public:
  explicit LeastSquares(size_t unknowns)
      : n_(unknowns), normal_(unknowns * unknowns), right_(unknowns) {}

  void Add(const std::vector<double>& a, double y) {
    for (size_t i = 0; i < n_; ++i) {
      right_[i] += a[i] * y;
      for (size_t j = 0; j <= i; ++j) normal_[i * n_ + j] += a[i] * a[j];
    }
  }

  // x. What the equations do not decide, to 1e-9 of what they decide best, is kept near 0.
  std::vector<double> Solve() const {
    std::vector<double> L = normal_, x = right_;
    double largest = 0;
    for (size_t i = 0; i < n_; ++i) largest = std::fmax(largest, L[i * n_ + i]);
    if (largest == 0) return std::vector<double>(n_);
    for (size_t i = 0; i < n_; ++i) {  // Cholesky: L L^T
      L[i * n_ + i] += 1e-9 * largest;
      for (size_t j = 0; j <= i; ++j) {
        double sum = L[i * n_ + j];
        for (size_t k = 0; k < j; ++k) sum -= L[i * n_ + k] * L[j * n_ + k];
        L[i * n_ + j] = i == j ? std::sqrt(std::fmax(sum, 1e-12 * largest)) : sum / L[j * n_ + j];
      }
    }
    for (size_t i = 0; i < n_; ++i) {
      for (size_t k = 0; k < i; ++k) x[i] -= L[i * n_ + k] * x[k];
      x[i] /= L[i * n_ + i];
    }
    for (size_t i = n_; i-- > 0;) {
      for (size_t k = i + 1; k < n_; ++k) x[i] -= L[k * n_ + i] * x[k];
      x[i] /= L[i * n_ + i];
    }
    return x;
  }

 private:
  size_t n_;
  std::vector<double> normal_;  // [n, n], its lower half
  std::vector<double> right_;
};

}  // namespace bitanchor::number

#endif  // BITANCHOR_LIB_NUMBER_LEAST_SQUARES_H_
