// Small linear systems: symmetric ones, and least squares with few unknowns by their normal
// equations.
#ifndef BITANCHOR_LIB_NUMBER_LEAST_SQUARES_H_
#define BITANCHOR_LIB_NUMBER_LEAST_SQUARES_H_

#include <cstddef>
#include <vector>

namespace bitanchor::number {

// Solves A x = y for a symmetric positive definite A [n, n], row-major, of which the lower half is
// read; y [n] becomes x. false: A is not positive definite, or of some row less than `least_pivot`
// of its diagonal is left when those before are taken away, so that x would mean little; y is then
// lost.
bool SolveByCholesky(std::vector<double> A, std::vector<double>& y, double least_pivot = 1e-6);

// The equations sum_n a[n] x[n] = y, added one by one.
class LeastSquares {
 public:
  explicit LeastSquares(size_t unknowns)
      : n_(unknowns), normal_(unknowns * unknowns), right_(unknowns) {}

  void Add(const std::vector<double>& a, double y);

  // x. What the equations do not decide, to 1e-9 of what they decide best, is kept near 0.
  std::vector<double> Solve() const;

 private:
  size_t n_;
  std::vector<double> normal_;  // [n, n], its lower half
  std::vector<double> right_;
};

}  // namespace bitanchor::number

#endif  // BITANCHOR_LIB_NUMBER_LEAST_SQUARES_H_
