#include <fmt/format.h>

#include <bit>

#include "lib/matrix_unit/dot_add.h"
#include "lib/matrix_unit/f64_chain.h"
#include "tests/digest/cases.h"
#include "tests/digest/draw.h"

namespace bitanchor::digest {
namespace {

using matrix_unit::Model;
using matrix_unit::Result;

// Ragged panels, and a last group of every unit that lacks products.
constexpr int64_t kG = 2, kM = 5, kK = 39, kN = 67;

// A matrix [rows, columns] of a type that DrawTensor draws or, rounded from f32, of 8 bits.
std::vector<std::byte> Matrices(const Model& model, Values values, int64_t rows, int64_t columns,
                                uint64_t seed) {
  const Shape4 shape = {kG, rows, 1, columns};
  if (IsFloat(model.dtype)) return DrawTensor(values, model.dtype, shape, seed);
  std::vector<std::byte> codes(static_cast<size_t>(kG * rows * columns));
  for (size_t n = 0; n < codes.size(); ++n) {
    const float x = std::bit_cast<float>(DrawBits(values, DType::kF32, seed, n));
    codes[n] = static_cast<std::byte>(
        RoundBits(model.format, ToF64(x), Rounding::kNearestEven, 0, Overflow::kSaturate));
  }
  return codes;
}

void Compute(const Model& model, const Result& result, Values values, int64_t slices,
             Engine& engine, Results& results) {
  const auto a = Matrices(model, values, kM, kK, 81), b = Matrices(model, values, kK, kN, 82);
  const auto c = DrawTensor(values, DType::kF32, {kG, kM, 1, kN}, 83);
  const bool half = result.storage.precision == kFormatF16.precision;
  const DType dtype = half ? DType::kF16 : DType::kF32;
  std::vector<std::byte> d(static_cast<size_t>(kG * kM * kN) * DTypeBytes(dtype));
  std::vector<std::byte> undetermined(static_cast<size_t>(kG * kM * kN));
  matrix_unit::MatMul product;
  product.model = &model;
  product.result = &result;
  product.G = kG;
  product.M = kM;
  product.K = kK;
  product.N = kN;
  product.a = a.data();
  product.b = b.data();
  product.c = c.data();
  product.slices = slices;
  engine.MatMul(product, d.data(), undetermined.data());
  results.Add(dtype, d);
  results.Add(DType::kBool, undetermined);
}

void Add(std::vector<Case>& cases, const Model& model, const Result& result, const char* out) {
  const std::string name = fmt::format("matmul/{}/{}-to-{}", model.unit, model.input, out);
  cases.push_back(
      {name, Operation::kMatMul, 75, [&model, &result](Engine& engine, Results& results) {
         for (const Values values : {Values::kNormal, Values::kWide, Values::kSubnormal,
                                     Values::kInteger, Values::kRareSpecial}) {
           Compute(model, result, values, 1, engine, results);
         }
         Compute(model, result, Values::kNormal, 2, engine, results);
       }});
}

// Every exponent from the subnormal ones' to 2^20, so that chains round at every place.
std::vector<std::byte> F64s(int64_t count, uint64_t seed) {
  std::vector<uint64_t> numbers;
  for (int64_t n = 0; n < count; ++n) {
    const uint64_t high = DrawBits(Values::kWide, DType::kF32, seed, 2 * static_cast<uint64_t>(n));
    const uint64_t low =
        DrawBits(Values::kWide, DType::kF32, seed, 2 * static_cast<uint64_t>(n) + 1);
    const double x = static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(high)));
    numbers.push_back(std::bit_cast<uint64_t>(x) | (low & 0x1fffffffu));
  }
  const auto bytes = std::as_bytes(std::span(numbers));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

void AddMatrixUnitCases(std::vector<Case>& cases) {
  for (const Model& model : matrix_unit::Models()) {
    Add(cases, model, model.f32, "f32");
    if (model.f16) Add(cases, model, *model.f16, "f16");
  }
  cases.push_back({"matmul/f64", Operation::kDefinition, 100, [](Engine&, Results& results) {
                     const auto a = F64s(kM * kK, 84), b = F64s(kK * kN, 85), c = F64s(kM * kN, 86);
                     std::vector<std::byte> d(c.size());
                     for (const int64_t slices : {1, 3}) {
                       for (int64_t m = 0; m < kM; ++m) {
                         matrix_unit::PredictF64Row(
                             {1, kM, kK, kN, a.data(), b.data(), c.data(), slices}, 0, m, d.data());
                       }
                       results.Add(DType::kF64, d);
                     }
                   }});
}

}  // namespace bitanchor::digest
