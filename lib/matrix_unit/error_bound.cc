#include "lib/matrix_unit/error_bound.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/matrix_unit/dot_add.h"
#include "lib/number/ulp.h"

namespace bitanchor::matrix_unit {
namespace {

using Operands = std::span<const Unpacked>;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Covers what f64 loses in the few operations that make a bound.
constexpr double kMargin = 1 + 0x1p-40;

// Of some products, or of c.
struct Size {
  int nonzero = 0;
  int E = kNoFloor;  // the largest e of those
  double sum = 0;    // of magnitudes

  void Add(double magnitude, int e) {
    if (magnitude == 0) return;
    ++nonzero;
    E = std::max(E, e);
    sum += magnitude;
  }
};

// Of the products k for which take(k).
template <typename Take>
Size ProductsIf(const Model& model, Operands a, Operands b, const Take& take) {
  Size size;
  for (size_t k = 0; k < a.size(); ++k) {
    if (!take(k)) continue;
    size.Add(std::fabs(ToF64(a[k]) * ToF64(b[k])),
             a[k].exponent + b[k].exponent + 2 * model.operand.StoredBits());
  }
  return size;
}

Size Products(const Model& model, Operands a, Operands b) {
  return ProductsIf(model, a, b, [](size_t) { return true; });
}

void AddC(const Result& result, const Unpacked& c, Size& size) {
  size.Add(std::fabs(ToF64(c)), c.exponent + result.storage.StoredBits());
}

// The last place of the quantum below E, whatever the reading.
double Quantum(const Model& model, const Result& result, int E) {
  for (const Reading& reading : result.readings) {
    E = std::max({E, reading.least_exponent, reading.zero_product_exponent});
  }
  return std::ldexp(1.0, E - model.fraction_bits);
}

double Truncation(const Model& model, const Result& result, const Size& size) {
  return size.nonzero == 0 ? 0 : size.nonzero * Quantum(model, result, size.E);
}

// Of the last rounding, which gave d.
double FinalRounding(const Result& result, double d) {
  const double ulp = UlpOf(result.format, d);
  return result.rounding == Rounding::kNearestEven ? ulp / 2 : ulp;
}

double Halves(const Model& model, const Result& result, Operands a, Operands b, double d) {
  const Size first = ProductsIf(model, a, b, [](size_t k) { return k % 4 < 2; });
  Size second = ProductsIf(model, a, b, [](size_t k) { return k % 4 >= 2; });
  // What the first half came to is at most the sum of its magnitudes, rounded once.
  const double d1 = first.sum * (1 + 0x1p-10);
  const double rounding1 = FinalRounding(result, d1);
  second.Add(d1, d1 == 0 ? 0 : std::max(std::ilogb(d1), result.storage.min_exponent));
  const double rounding2 = FinalRounding(result, (first.sum + second.sum) * (1 + 0x1p-10));
  return Truncation(model, result, first) + rounding1 + Truncation(model, result, second) +
         rounding2 + UlpOf(result.storage, d) / 2;
}

// Every operation to nearest, or flushed: relative to the sum of all magnitudes, in its depth.
double Pairs(const Model& model, Operands a, Operands b, const Unpacked& c) {
  const double least = std::ldexp(1.0, model.operand.min_exponent);
  const Size products = Products(model, a, b);
  double lost = 0;
  for (size_t k = 0; k < a.size(); ++k) {
    const double x = std::fabs(ToF64(a[k])), y = std::fabs(ToF64(b[k]));
    if (x < least || y < least) lost += x * y;
  }
  const int operations = 2 * model.products + 1;  // products, sums and c: each may be flushed
  const int depth = model.products == 4 ? 4 : 3;  // a product's roundings
  return lost + operations * 0x1p-126 +
         depth * 0x1p-24 * (1 + 0x1p-20) * (products.sum + std::fabs(ToF64(c)));
}

// floor(T) + floor(c) below the larger of E and e_c; a c that is dropped is smaller than a quantum.
double ThenC(const Model& model, const Result& result, int E, const Unpacked& c, double d) {
  const int e = std::max(E, c.exponent + result.storage.StoredBits());
  const double quantum = Quantum(model, result, e);
  return quantum * (1 + std::ldexp(1.0, model.fraction_bits - model.sum_fraction_bits)) +
         FinalRounding(result, d);
}

}  // namespace

double GroupErrorBound(const Model& model, const Result& result, Operands a, Operands b,
                       uint32_t c_bits, uint32_t d_bits) {
  const Unpacked c = Unpack(result.storage, c_bits), unpacked = Unpack(result.storage, d_bits);
  if (unpacked.kind != NumberKind::kFinite) return kInfinity;
  const double d = ToF64(unpacked);
  Size terms = Products(model, a, b);
  switch (model.arithmetic) {
    case Arithmetic::kTruncatedSum:
      AddC(result, c, terms);
      return kMargin * (Truncation(model, result, terms) + FinalRounding(result, d));
    case Arithmetic::kTruncatedHalves:
      return kMargin * Halves(model, result, a, b, d);
    case Arithmetic::kExactSum:
    case Arithmetic::kFMA:
      return FinalRounding(result, d);
    case Arithmetic::kFlushedPairs:
      return kMargin * Pairs(model, a, b, c);
    case Arithmetic::kTruncatedThenC:
      return kMargin * (Truncation(model, result, terms) + ThenC(model, result, terms.E, c, d));
    case Arithmetic::kTruncatedParities: {
      // Each parity's truncation, then a floor of each below the larger E.
      const double sums = terms.nonzero == 0 ? 0 : 2 * Quantum(model, result, terms.E);
      return kMargin *
             (Truncation(model, result, terms) + sums + ThenC(model, result, terms.E, c, d));
    }
  }
  return kInfinity;
}

double ErrorBound(const Model& model, const Result& result, Operands a, Operands b, uint32_t c) {
  const size_t L = static_cast<size_t>(model.products);
  double largest = 0;
  for (const Reading& reading : result.readings) {
    uint32_t from = c;
    double bound = 0;
    for (size_t at = 0; at < a.size(); at += L) {
      const size_t count = std::min(L, a.size() - at);
      const Operands x = a.subspan(at, count), y = b.subspan(at, count);
      bool unused = false;
      const uint32_t d = DotAdd(model, result, reading, x, y, from, unused);
      bound += GroupErrorBound(model, result, x, y, from, d);
      from = d;
    }
    largest = std::max(largest, bound);
  }
  return kMargin * largest;
}

// In units of the sum of magnitudes, which neither E's term nor a partial sum exceeds.
ErrorTerms ErrorTermsOf(const Model& model) {
  const Result& result = model.f32;
  const double ulp = std::ldexp(1.0, -result.format.StoredBits());
  const double cut = std::ldexp(1.0, -model.fraction_bits);
  ErrorTerms terms{.products = model.products,
                   .fraction_bits = model.fraction_bits,
                   .rounding = result.rounding == Rounding::kNearestEven ? ulp / 2 : ulp,
                   .absolute = 0x1p-149};
  switch (model.arithmetic) {
    case Arithmetic::kTruncatedSum:
    case Arithmetic::kExactSum:
    case Arithmetic::kFMA:
      break;
    case Arithmetic::kTruncatedHalves:
      // Each half toward zero, the first one's result being cut in the second; then c, to nearest.
      terms.rounding = 2 * ulp + 0x1p-24;
      break;
    case Arithmetic::kFlushedPairs:
      // A product's own rounding and those of its pair and of both pairs meet it once.
      terms.product = (model.products == 4 ? 3 : 2) * 0x1p-24;
      terms.flush = std::ldexp(1.0, model.operand.min_exponent);
      terms.absolute = 0x1p-126;
      break;
    case Arithmetic::kTruncatedThenC:  // `cut` is the floor of c here
      terms.rounding += std::ldexp(1.0, -model.sum_fraction_bits);
      break;
    case Arithmetic::kTruncatedParities:
      terms.rounding += std::ldexp(1.0, -model.sum_fraction_bits) + 2 * cut;
      break;
  }
  return terms;
}

ErrorTerms ErrorTermsOf(std::string_view unit, DType dtype) {
  ErrorTerms worst{.products = 0};
  for (const Model& model : Models()) {
    if (model.unit != unit || model.dtype != dtype) continue;
    const ErrorTerms terms = ErrorTermsOf(model);
    if (worst.products == 0) worst = terms;
    worst.products = std::min(worst.products, terms.products);
    if (worst.fraction_bits == 0 || terms.fraction_bits == 0) {
      worst.fraction_bits = std::max(worst.fraction_bits, terms.fraction_bits);
    } else {
      worst.fraction_bits = std::min(worst.fraction_bits, terms.fraction_bits);
    }
    worst.rounding = std::max(worst.rounding, terms.rounding);
    worst.product = std::max(worst.product, terms.product);
    worst.flush = std::max(worst.flush, terms.flush);
    worst.absolute = std::max(worst.absolute, terms.absolute);
  }
  return worst;
}

}  // namespace bitanchor::matrix_unit
