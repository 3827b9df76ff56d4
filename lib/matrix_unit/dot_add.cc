#include "lib/matrix_unit/dot_add.h"

#include <algorithm>
#include <array>
#include <cassert>
#include <cstdlib>
#include <optional>

#include "lib/number/fixed_point.h"

namespace bitanchor::matrix_unit {
namespace {

using Operands = std::span<const Unpacked>;

// +-significand 2^exponent, to be aligned by `top`: the e of dot_add.h.
struct Term {
  bool negative = false;
  uint64_t significand = 0;
  int exponent = 0;
  int top = 0;
};

Term TermOf(const Format& format, const Unpacked& x) {
  return {x.negative, x.significand, x.exponent, x.exponent + format.StoredBits()};
}

Term Product(const Format& format, const Unpacked& x, const Unpacked& y) {
  const int exponent = x.exponent + y.exponent;
  return {x.negative != y.negative, uint64_t{x.significand} * y.significand, exponent,
          exponent + 2 * format.StoredBits()};
}

constexpr int kMostProducts = 32;

// The terms of a group, c last where it is one.
struct Terms {
  std::array<Term, kMostProducts + 1> term;
  int count = 0;

  void Add(const Term& more) { term[static_cast<size_t>(count++)] = more; }
  std::span<const Term> All() const { return {term.data(), static_cast<size_t>(count)}; }
};

Terms Products(const Format& format, Operands a, Operands b) {
  Terms products;
  for (size_t k = 0; k < a.size(); ++k) products.Add(Product(format, a[k], b[k]));
  return products;
}

// What infinities and NaNs among the terms make of a sum.
class NotFinite {
 public:
  void AddInfinity(bool negative) { (negative ? minus_ : plus_) = true; }
  void Add(const Unpacked& c) {
    if (c.kind == NumberKind::kNaN) nan_ = true;
    if (c.kind == NumberKind::kInfinity) AddInfinity(c.negative);
  }
  void AddProduct(const Unpacked& x, const Unpacked& y) {
    const bool infinite = x.kind == NumberKind::kInfinity || y.kind == NumberKind::kInfinity;
    if (x.kind == NumberKind::kNaN || y.kind == NumberKind::kNaN ||
        (infinite && (x.IsZero() || y.IsZero()))) {
      nan_ = true;
    } else if (infinite) {
      AddInfinity(x.negative != y.negative);
    }
  }
  void AddProducts(Operands a, Operands b) {
    for (size_t k = 0; k < a.size(); ++k) AddProduct(a[k], b[k]);
  }
  // Nothing where all terms are finite.
  std::optional<uint32_t> Answer(const Result& result) const {
    const Format& format = result.storage;
    if (nan_ || (plus_ && minus_)) return result.nan;
    if (!plus_ && !minus_) return std::nullopt;
    return static_cast<uint32_t>(format.InfinityBits() | (minus_ ? format.SignBit() : 0));
  }

 private:
  bool nan_ = false, plus_ = false, minus_ = false;
};

// units 2^exponent, rounded to the result's format and stored. Too large is infinite.
uint32_t Rounded(const Result& result, int64_t units, int exponent) {
  const uint64_t size = units < 0 ? -static_cast<uint64_t>(units) : static_cast<uint64_t>(units);
  const uint32_t bits =
      RoundBits(result.format, units < 0, size, exponent, result.rounding, 0, Overflow::kInfinity);
  return bits << (result.storage.precision - result.format.precision);
}

// E; nothing where every term is zero.
std::optional<int> LargestExponent(std::span<const Term> terms) {
  std::optional<int> largest;
  for (const Term& term : terms) {
    if (term.significand != 0) largest = std::max(largest.value_or(term.top), term.top);
  }
  return largest;
}

// floor(x 2^shift), of the integer x. A zero may have any exponent, above all others too.
int64_t FloorShift(int64_t x, int shift) {
  if (x == 0) return 0;
  return shift >= 0 ? x * (int64_t{1} << shift) : x >> std::min(-shift, 63);
}

// trunc_quantum(term), in quanta. Terms are below 2^(top + 2), so that it has at most F + 2 bits.
int64_t Truncated(const Term& term, int quantum) {
  const int64_t size = FloorShift(static_cast<int64_t>(term.significand), term.exponent - quantum);
  return term.negative ? -size : size;
}

int64_t SumOfTruncated(std::span<const Term> terms, int quantum) {
  int64_t sum = 0;
  for (const Term& term : terms) sum += Truncated(term, quantum);
  return sum;
}

// The sum of all terms, rounded once to nearest-even. An exact zero is +0; in an IEEE operation -0
// where all terms are negative.
enum class ZeroSign { kPlus, kIEEE };
uint32_t NearestToSum(const Format& format, std::span<const Term> terms, ZeroSign zero) {
  FixedPoint sum;
  bool negative = zero == ZeroSign::kIEEE;
  for (const Term& term : terms) {
    if (term.significand != 0) sum.Add(term.negative, term.significand, term.exponent);
    negative &= term.negative;
  }
  if (sum.IsZero()) return negative ? static_cast<uint32_t>(format.SignBit()) : 0;
  return sum.Round(format, Rounding::kNearestEven);
}

uint32_t TruncatedSum(const Model& model, const Result& result, const Reading& reading, Operands a,
                      Operands b, uint32_t c_bits, bool& corner) {
  const Unpacked c = Unpack(result.storage, c_bits);
  NotFinite not_finite;
  not_finite.AddProducts(a, b);
  not_finite.Add(c);
  if (const auto answer = not_finite.Answer(result)) return *answer;
  Terms terms = Products(model.operand, a, b);
  terms.Add(TermOf(result.storage, c));
  const std::optional<int> largest = LargestExponent(terms.All());
  if (!largest) return 0;
  for (const Reading& other : result.readings) corner |= *largest < other.least_exponent;
  const int quantum = std::max(*largest, reading.least_exponent) - model.fraction_bits;
  return Rounded(result, SumOfTruncated(terms.All(), quantum), quantum);
}

// IEEE's x + y in the result's storage.
uint32_t Add(const Result& result, uint32_t x_bits, uint32_t y_bits) {
  const Format& format = result.storage;
  const Unpacked x = Unpack(format, x_bits), y = Unpack(format, y_bits);
  NotFinite not_finite;
  not_finite.Add(x);
  not_finite.Add(y);
  if (const auto answer = not_finite.Answer(result)) return *answer;
  const Term terms[] = {TermOf(format, x), TermOf(format, y)};
  return NearestToSum(format, terms, ZeroSign::kIEEE);
}

uint32_t TruncatedHalves(const Model& model, const Result& result, const Reading& reading,
                         Operands a, Operands b, uint32_t c, bool& corner) {
  uint32_t d = 0;
  for (const size_t half : {0, 1}) {
    std::array<Unpacked, kMostProducts> a_half, b_half;
    size_t count = 0;
    for (size_t k = 0; k < a.size(); ++k) {
      if (k / 2 % 2 != half) continue;
      a_half[count] = a[k];
      b_half[count++] = b[k];
    }
    d = TruncatedSum(model, result, reading, Operands(a_half).first(count),
                     Operands(b_half).first(count), d, corner);
  }
  return Add(result, d, c);
}

uint32_t ExactSum(const Model& model, const Result& result, Operands a, Operands b,
                  uint32_t c_bits) {
  const Unpacked c = Unpack(result.storage, c_bits);
  NotFinite not_finite;
  not_finite.AddProducts(a, b);
  not_finite.Add(c);
  if (const auto answer = not_finite.Answer(result)) return *answer;
  Terms terms = Products(model.operand, a, b);
  terms.Add(TermOf(result.storage, c));
  return NearestToSum(result.storage, terms.All(), ZeroSign::kPlus);
}

// IEEE's a b + c.
uint32_t FMA(const Model& model, const Result& result, const Unpacked& a, const Unpacked& b,
             uint32_t c_bits) {
  const Unpacked c = Unpack(result.storage, c_bits);
  NotFinite not_finite;
  not_finite.AddProduct(a, b);
  not_finite.Add(c);
  if (const auto answer = not_finite.Answer(result)) return *answer;
  const Term terms[] = {Product(model.operand, a, b), TermOf(result.storage, c)};
  return NearestToSum(result.storage, terms, ZeroSign::kIEEE);
}

// Subnormal numbers become zeros of their sign.
uint32_t Flushed(const Format& format, uint32_t bits) {
  const uint32_t sign = static_cast<uint32_t>(format.SignBit());
  return (bits & (sign - 1)) < (uint32_t{1} << format.StoredBits()) ? bits & sign : bits;
}

// Subnormal numbers become +0.
Unpacked FlushedFactor(const Format& format, const Unpacked& x) {
  const bool subnormal = x.kind == NumberKind::kFinite && x.significand != 0 &&
                         x.significand < (uint32_t{1} << format.StoredBits());
  return subnormal ? Unpacked{} : x;
}

uint32_t FlushedProduct(const Model& model, const Result& result, const Unpacked& a,
                        const Unpacked& b) {
  const Unpacked x = FlushedFactor(model.operand, a), y = FlushedFactor(model.operand, b);
  NotFinite not_finite;
  not_finite.AddProduct(x, y);
  if (const auto answer = not_finite.Answer(result)) return *answer;
  const Term product[] = {Product(model.operand, x, y)};
  return Flushed(result.storage, NearestToSum(result.storage, product, ZeroSign::kIEEE));
}

uint32_t FlushedPairs(const Model& model, const Result& result, Operands a, Operands b,
                      uint32_t c) {
  const Format& format = result.storage;
  const auto add = [&](uint32_t x, uint32_t y) { return Flushed(format, Add(result, x, y)); };
  const auto product = [&](size_t k) {
    return k < a.size() ? FlushedProduct(model, result, a[k], b[k]) : 0;
  };
  uint32_t sum = add(product(0), product(1));
  if (model.products == 4) sum = add(sum, add(product(2), product(3)));
  const bool subnormal = Flushed(format, c) != c;
  return add(subnormal ? 0 : c, sum);
}

// T 2^quantum of the products, each truncated below the largest one, whose exponent is E.
struct ProductSum {
  std::optional<int> E;  // nothing: every product is zero
  int64_t T = 0;
};

ProductSum SumOfProducts(const Model& model, const Result& result, const Reading& reading,
                         std::span<const Term> products, bool& corner) {
  ProductSum sum;
  sum.E = LargestExponent(products);
  const bool any_zero = static_cast<int>(products.size()) < model.products ||
                        std::any_of(products.begin(), products.end(),
                                    [](const Term& p) { return p.significand == 0; });
  if (!sum.E) return sum;
  if (any_zero) {
    for (const Reading& other : result.readings) corner |= *sum.E < other.zero_product_exponent;
    sum.E = std::max(*sum.E, reading.zero_product_exponent);
  }
  sum.T = SumOfTruncated(products, *sum.E - model.fraction_bits);
  return sum;
}

// RN(floor(T) + floor(c)), aligned to the larger of them. A finite c.
enum class FarC { kFloored, kDropped };
uint32_t ThenC(const Model& model, const Result& result, const ProductSum& sum, const Unpacked& c,
               FarC far) {
  const int F = model.fraction_bits, F2 = model.sum_fraction_bits;
  const int e_c = TermOf(result.storage, c).top;  // of a zero, the least exponent
  const int e = std::max(sum.E.value_or(e_c), e_c);
  const int64_t T = sum.E ? FloorShift(sum.T, (*sum.E - F) - (e - F2)) : 0;
  const int64_t significand = c.negative ? -int64_t{c.significand} : int64_t{c.significand};
  int64_t aligned_c = FloorShift(significand, c.exponent - (e - F));
  if (far == FarC::kDropped && e_c < e - F - 1) aligned_c = 0;
  return Rounded(result, T + FloorShift(aligned_c, F2 - F), e - F2);
}

// Whether a product is 2^128 or more.
bool IsHuge(const Term& product) {
  return static_cast<int>(std::bit_width(product.significand)) + product.exponent > 128;
}

uint32_t TruncatedThenC(const Model& model, const Result& result, const Reading& reading,
                        Operands a, Operands b, uint32_t c_bits, bool& corner) {
  const Unpacked c = Unpack(result.storage, c_bits);
  const Terms products = Products(model.operand, a, b);
  NotFinite not_finite;
  not_finite.AddProducts(a, b);
  not_finite.Add(c);
  for (size_t k = 0; k < a.size(); ++k) {
    const Term& product = products.All()[k];
    if (!IsHuge(product)) continue;
    for (const Reading& other : result.readings) corner |= other.products_overflow;
    if (reading.products_overflow) not_finite.AddInfinity(product.negative);
  }
  if (const auto answer = not_finite.Answer(result)) return *answer;
  const ProductSum sum = SumOfProducts(model, result, reading, products.All(), corner);
  return ThenC(model, result, sum, c, FarC::kFloored);
}

uint32_t TruncatedParities(const Model& model, const Result& result, const Reading& reading,
                           Operands a, Operands b, uint32_t c_bits, bool& corner) {
  const Unpacked c = Unpack(result.storage, c_bits);
  NotFinite not_finite;
  not_finite.AddProducts(a, b);
  not_finite.Add(c);
  if (const auto answer = not_finite.Answer(result)) return *answer;
  ProductSum parity[2];
  for (const size_t odd : {0, 1}) {
    Terms products;
    for (size_t k = odd; k < a.size(); k += 2) products.Add(Product(model.operand, a[k], b[k]));
    parity[odd] = SumOfProducts(model, result, reading, products.All(), corner);
  }
  ProductSum sum{std::max(parity[0].E, parity[1].E)};  // nothing is less than any exponent
  for (const ProductSum& one : parity) {
    if (one.E) sum.T += FloorShift(one.T, *one.E - *sum.E);
  }
  return ThenC(model, result, sum, c, FarC::kDropped);
}

}  // namespace

Unpacked Operand(const Model& model, uint32_t bits) {
  const int dropped = model.format.precision - model.operand.precision;
  if (dropped >= 0) return Unpack(model.operand, bits >> dropped);
  const double value = ToF64(Unpack(model.format, bits));  // exact in either
  return Unpack(model.operand, RoundBits(model.operand, value, Rounding::kNearestEven, 0));
}

uint32_t DotAdd(const Model& model, const Result& result, const Reading& reading, Operands a,
                Operands b, uint32_t c, bool& corner) {
  assert(a.size() == b.size() && static_cast<int>(a.size()) <= model.products);
  switch (model.arithmetic) {
    case Arithmetic::kTruncatedSum:
      return TruncatedSum(model, result, reading, a, b, c, corner);
    case Arithmetic::kTruncatedHalves:
      return TruncatedHalves(model, result, reading, a, b, c, corner);
    case Arithmetic::kExactSum:
      return ExactSum(model, result, a, b, c);
    case Arithmetic::kFlushedPairs:
      return FlushedPairs(model, result, a, b, c);
    case Arithmetic::kTruncatedThenC:
      return TruncatedThenC(model, result, reading, a, b, c, corner);
    case Arithmetic::kTruncatedParities:
      return TruncatedParities(model, result, reading, a, b, c, corner);
    case Arithmetic::kFMA:
      return a.empty() ? c : FMA(model, result, a[0], b[0], c);
  }
  assert(false && "unknown arithmetic");
  return result.nan;
}

int64_t Groups(const Model& model, int64_t products) {
  return std::max<int64_t>((products + model.products - 1) / model.products, 1);
}

namespace {

uint32_t Chain(const Model& model, const Result& result, const Reading& reading, Operands a,
               Operands b, uint32_t c, bool& corner) {
  const size_t L = static_cast<size_t>(model.products);
  for (size_t at = 0; at < a.size(); at += L) {
    const size_t count = std::min(L, a.size() - at);
    c = DotAdd(model, result, reading, a.subspan(at, count), b.subspan(at, count), c, corner);
  }
  return c;
}

// From one storage format to another, one rounding; NaN is the target's own.
uint32_t Converted(const Result& from, const Result& to, uint32_t bits) {
  const Unpacked x = Unpack(from.storage, bits);
  if (x.kind == NumberKind::kNaN) return to.nan;
  return RoundBits(to.storage, ToF64(x), Rounding::kNearestEven, 0);
}

uint32_t Sliced(const Model& model, const Result& result, const Reading& reading, Operands a,
                Operands b, uint32_t c, int64_t slices, bool& corner) {
  if (slices == 1) return Chain(model, result, reading, a, b, c, corner);
  const int64_t groups = Groups(model, static_cast<int64_t>(a.size()));
  const size_t length = static_cast<size_t>((groups + slices - 1) / slices * model.products);
  uint32_t sum = 0;
  for (size_t at = 0; at < a.size(); at += length) {
    const size_t count = std::min(length, a.size() - at);
    const uint32_t part = Chain(model, result, reading, a.subspan(at, count), b.subspan(at, count),
                                at == 0 ? c : 0, corner);
    const uint32_t wide = Converted(result, model.f32, part);
    sum = at == 0 ? wide : Add(model.f32, sum, wide);
  }
  return Converted(model.f32, result, sum);
}

}  // namespace

Prediction ChainedDotAdd(const Model& model, const Result& result, Operands a, Operands b,
                         uint32_t c, int64_t slices) {
  assert(slices >= 1 && slices <= Groups(model, static_cast<int64_t>(a.size())));
  Prediction prediction;
  bool corner = false;
  prediction.bits = Sliced(model, result, result.readings[0], a, b, c, slices, corner);
  // Without a corner in the first reading the others meet none either: they agree group by group.
  for (size_t n = 1; corner && n < result.readings.size(); ++n) {
    bool unused = false;
    prediction.determined &=
        prediction.bits == Sliced(model, result, result.readings[n], a, b, c, slices, unused);
  }
  return prediction;
}

}  // namespace bitanchor::matrix_unit
