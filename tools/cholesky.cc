#include "tools/cholesky.h"

#include <cmath>
#include <cstddef>

namespace bitanchor::tools {

constexpr double kLeastPivot = 1e-6;  // of the diagonal: less is left of a row that others make up

bool SolveByCholesky(std::vector<double> A, std::vector<double>& y) {
  const size_t n = y.size();
  for (size_t i = 0; i < n; ++i) {
    for (size_t j = 0; j <= i; ++j) {
      const double own = A[i * n + i];
      double sum = A[i * n + j];
      for (size_t k = 0; k < j; ++k) sum -= A[i * n + k] * A[j * n + k];
      if (i != j) {
        A[i * n + j] = sum / A[j * n + j];
      } else if (sum > kLeastPivot * own) {
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

}  // namespace bitanchor::tools
