#include "lib/recipe/interval.h"

#include <algorithm>
#include <cmath>

namespace bitanchor {
namespace {

// Second-order terms (products of small errors) and the centre's own f64 error are below this share
// of the first-order ones wherever those are below 2^-6, which the engines check.
constexpr double kSlack = 1 + 0x1p-5;

}  // namespace

RowTerms TermsOf(const Contract& contract, int64_t head_dim, int64_t visible_keys, int64_t runs) {
  const double n = static_cast<double>(visible_keys), op = contract.operation;
  const double rescales = std::min(n, n / contract.rescale_keys + 2.0 * static_cast<double>(runs));
  // A rescaling multiplies the running sums as well, each with its own rounding.
  const double depth = op * (contract.Depth(visible_keys) + rescales) * kSlack;
  RowTerms terms;
  terms.score = ProductError(contract, head_dim);
  terms.shared = (contract.exp_error + rescales * (contract.exp_error + 2 * op)) * kSlack;
  terms.depth = depth;
  terms.numerator =
      contract.weight_rounding + (depth + op) * (1 + contract.weight_rounding) * kSlack;
  terms.finish = 4 * op;
  terms.weight_absolute = 4 * contract.flush;
  terms.product_absolute = 4 * (n + rescales + 1) * contract.flush;
  return terms;
}

double ProductError(const Contract& contract, int64_t head_dim) {
  return contract.operation * static_cast<double>(head_dim + 4) * kSlack;
}

double SumError(const Contract& contract, int64_t addends) {
  return contract.operation * (contract.Depth(addends) + 1) * kSlack;
}

OutputRounding RoundingOf(DType dtype) {
  if (dtype == DType::kBF16) return {0x1p-8, 0x1p-126};
  if (dtype == DType::kF16) return {0x1p-11, 0x1p-25};
  return {0x1p-23, 0x1p-126};
}

Interval RoundedInterval(DType dtype, double want, double low, double high) {
  return {want, RoundTo(dtype, low), RoundTo(dtype, high)};
}

}  // namespace bitanchor
