#include "lib/number/least_squares.h"

#include <algorithm>
#include <cmath>

namespace bitanchor::number {

bool SolveByCholesky(std::vector<double> A, std::vector<double>& y, double least_pivot) {
  const size_t n = y.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double own = A[i * n + i];
      double sum = A[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= A[i * n + k] * A[j * n + k];
      if (i != j) {
        A[i * n + j] = sum / A[j * n + j];
      } else if (sum > least_pivot * own) {
        A[i * n + i] = std::sqrt(sum);
      } else {
        return false;
      }
    }
  }
  for (size_t i = 0; i < n; ++i) {
    for (size_t k = 0; k < i; ++k) y[i] -= A[i * n + k] * y[k];
    y[i] /= A[i * n + i];
  }
  for (size_t i = n; i-- > 0;) {
    for (size_t k = i + 1; k < n; ++k) y[i] -= A[k * n + i] * y[k];
    y[i] /= A[i * n + i];
  }
  return true;
}

void LeastSquares::Add(const std::vector<double>& a, double y) {
  for (size_t i = 0; i < n_; ++i) {
    right_[i] += a[i] * y;
    for (size_t j = 0; j <= i; ++j) normal_[i * n_ + j] += a[i] * a[j];
  }
}

std::vector<double> LeastSquares::Solve() const {
  constexpr double kRidge = 1e-9;
  double largest = 0;
  for (size_t i = 0; i < n_; ++i) largest = std::max(largest, normal_[i * n_ + i]);
  std::vector<double> A = normal_, x = right_;
  for (size_t i = 0; i < n_; ++i) A[i * n_ + i] += kRidge * largest;
  if (!SolveByCholesky(std::move(A), x, 1e-3 * kRidge)) return std::vector<double>(n_);
  return x;
}

}  // namespace bitanchor::number
