#include "lib/recipe/interval.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace bitanchor {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();

// What is left of second-order terms, and the centre's own f64 error, are below this share of the
// first-order ones.
constexpr double kSlack = 1 + 0x1p-5;

// (1 + e_1)(1 + e_2) ... - 1 where the e_k add up to `error` at most: e^error - 1.
double Compounded(double error) {
  return error <= 1 ? error * (1 + 0.7183 * error) * kSlack : kInf;
}

// Groups of a matrix unit that n tokens in so many runs may fall into.
double Groups(const Contract& contract, double n, double runs) {
  if (contract.unit.products == 0) return 0;
  return std::min(n, n / static_cast<double>(contract.unit.products) + 2 * runs);
}

}  // namespace

RowTerms TermsOf(const Contract& contract, int64_t visible_keys, int64_t runs) {
  const double n = static_cast<double>(visible_keys), r = static_cast<double>(runs);
  const double op = contract.operation;
  const double rescales =
      contract.rescale_keys == 0 ? 0 : std::min(n, n / contract.rescale_keys + 2 * r);
  RowTerms terms;
  terms.shared = (contract.exp_error + rescales * (contract.rescale_exp_error + 2 * op)) * kSlack;
  // A rescaling multiplies the running sums as well, each with its own rounding.
  terms.depth = Compounded(op * (contract.RowSumDepth(n) + rescales));
  terms.finish = 4 * op;
  terms.unit = contract.UnitError(n, Groups(contract, n, r));
  const double sum = op * (contract.Depth(n) + rescales + 1) + terms.unit +
                     (contract.normalise_first ? terms.finish : 0);
  terms.sum = Compounded(sum) * (1 + contract.weight_rounding);
  terms.numerator = contract.weight_rounding + terms.sum;
  terms.weight_absolute = 4 * contract.flush;
  terms.product_absolute = 4 * (n + rescales + 1) * contract.flush;
  return terms;
}

double ProductError(const Contract& contract, int64_t head_dim) {
  const double D = static_cast<double>(head_dim);
  const double groups = Groups(contract, D, 0.5);  // its first dimension begins one
  return Compounded(contract.operation * (D / contract.dot_dims + 4) +
                    contract.UnitError(D, groups));
}

double ProductSumError(const Contract& contract, int64_t addends, int64_t runs) {
  const double n = static_cast<double>(addends);
  const double unit = contract.UnitError(n, Groups(contract, n, static_cast<double>(runs)));
  return Compounded(contract.operation * (contract.Depth(n) + 1) + unit);
}

double SumError(const Contract& contract, int64_t addends) {
  const double n = static_cast<double>(addends);
  const double depth = std::max(contract.Depth(n), contract.RowSumDepth(n));
  return Compounded(contract.operation * (depth + 1));
}

double LeastFactor(const Contract& contract, DType dtype) {
  return contract.unit.fraction_bits > 0 && dtype == DType::kF16 ? 0x1p-14 : 0;
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
