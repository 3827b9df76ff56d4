// Small symmetric systems.
#ifndef BITANCHOR_TOOLS_CHOLESKY_H_
#define BITANCHOR_TOOLS_CHOLESKY_H_

#include <vector>

namespace bitanchor::tools {

// Solves A x = y for a symmetric positive definite A [n, n], row-major; y [n] becomes x. false: A
// is not positive definite, or so nearly not that x would mean little; y is then lost.
bool SolveByCholesky(std::vector<double> A, std::vector<double>& y);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_CHOLESKY_H_
