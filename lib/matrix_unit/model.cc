#include "lib/matrix_unit/model.h"

#include <algorithm>
#include <array>

#include "lib/number/float8.h"

namespace bitanchor::matrix_unit {
namespace {

// f32's exponents with 13 fraction bits: what fp8 units that accumulate in 13 bits write.
constexpr Format kFormatE8M13{14, -126, 127};

// A zero c counts as exponent -126 (MMA-Sim); or zeros are dropped and E has the floor named
// (Khattak and Mikaitis). A c that is not zero has at least exponent -126 itself, so that the first
// is a floor under E as well.
constexpr Reading kZeroC{.least_exponent = -126};
constexpr Reading kVolta[] = {kZeroC, {}};
// Turing is not in the second source: as its neighbour. (f16 products never come so low.)
constexpr Reading kAmpere[] = {kZeroC, {.least_exponent = -132}};
constexpr Reading kHopper[] = {kZeroC, {.least_exponent = -133}};
// Their later model of B200, from f16 to f16.
constexpr Reading kBlackwellF16[] = {kZeroC, {.least_exponent = -133}, {.least_exponent = -15}};
// MMA-Sim's code; and the formulas of its paper, with which Khattak and Mikaitis' CDNA3 agrees.
constexpr Reading kCDNA3[] = {{.zero_product_exponent = -126, .products_overflow = true}, {}};
constexpr Reading kNoCorners[] = {{}};

using Readings = std::span<const Reading>;
constexpr uint32_t kNaN32 = 0x7fffffff, kNaN16 = 0x7fff;  // NVIDIA's
// Which NaN AMD's units write is not published: ours is the canonical one.
constexpr uint32_t kNaNOfAMD = 0x7fc00000;

struct Input {
  std::string_view name;
  DType dtype;
  Format format, operand;
};
constexpr Input kF16{"f16", DType::kF16, kFormatF16, kFormatF16};
constexpr Input kBF16{"bf16", DType::kBF16, kFormatBF16, kFormatBF16};
constexpr Input kBF16_1k{"bf16_1k", DType::kBF16, kFormatBF16, kFormatBF16};
constexpr Input kTF32{"tf32", DType::kF32, kFormatF32, kFormatTF32};
constexpr Input kXF32{"xf32", DType::kF32, kFormatF32, kFormatTF32};
constexpr Input kF32{"f32", DType::kF32, kFormatF32, kFormatF32};
constexpr Input kE4M3{"e4m3", DType::kF8E4M3, E4M3::kFormat, E4M3::kFormat};
constexpr Input kE5M2{"e5m2", DType::kF8E5M2, E5M2::kFormat, E5M2::kFormat};
constexpr Input kE4M3FNUZ{"e4m3fnuz", DType::kF8E4M3FNUZ, E4M3FNUZ::kFormat, E4M3FNUZ::kFormat};
constexpr Input kE5M2FNUZ{"e5m2fnuz", DType::kF8E5M2FNUZ, E5M2FNUZ::kFormat, E5M2FNUZ::kFormat};

// NVIDIA's. f16 results: of f16 and of 8-bit inputs.
constexpr Model Truncated(std::string_view unit, const Input& input, int products,
                          int fraction_bits, Readings readings,
                          const Format& rounded_to = kFormatF32) {
  const Result f32{rounded_to, kFormatF32, Rounding::kTowardZero, kNaN32, readings};
  const Result f16{kFormatF16, kFormatF16, Rounding::kNearestEven, kNaN16, readings};
  const bool half = input.dtype != DType::kF32 && input.dtype != DType::kBF16;
  return {.unit = unit,
          .input = input.name,
          .dtype = input.dtype,
          .format = input.format,
          .operand = input.operand,
          .arithmetic = Arithmetic::kTruncatedSum,
          .products = products,
          .fraction_bits = fraction_bits,
          .sum_fraction_bits = 0,
          .f32 = f32,
          .f16 = half ? std::optional(f16) : std::nullopt};
}

// Hopper's mma on 8-bit inputs: they become f16.
constexpr Model ThroughF16(std::string_view unit, const Input& input) {
  Model model = Truncated(unit, input, 32, 25, kHopper);
  model.operand = kFormatF16;
  model.arithmetic = Arithmetic::kTruncatedHalves;
  return model;
}

constexpr Model BlackwellF16() {
  Model model = Truncated("blackwell", kF16, 16, 25, kHopper);
  model.f16->readings = kBlackwellF16;
  return model;
}

constexpr Model AMD(std::string_view unit, const Input& input, Arithmetic arithmetic, int products,
                    int fraction_bits = 0, int sum_fraction_bits = 0,
                    Readings readings = kNoCorners) {
  const Result f32{kFormatF32, kFormatF32, Rounding::kNearestEven, kNaNOfAMD, readings};
  return {.unit = unit,
          .input = input.name,
          .dtype = input.dtype,
          .format = input.format,
          .operand = input.operand,
          .arithmetic = arithmetic,
          .products = products,
          .fraction_bits = fraction_bits,
          .sum_fraction_bits = sum_fraction_bits,
          .f32 = f32,
          .f16 = std::nullopt};
}

constexpr auto kModels = std::to_array<Model>({
    Truncated("volta", kF16, 4, 23, kVolta),
    Truncated("turing", kF16, 8, 24, kAmpere),
    Truncated("ampere", kF16, 8, 24, kAmpere),
    Truncated("ampere", kBF16, 8, 24, kAmpere),
    Truncated("ampere", kTF32, 4, 24, kAmpere),
    Truncated("ada", kF16, 8, 24, kAmpere),
    Truncated("ada", kBF16, 8, 24, kAmpere),
    Truncated("ada", kTF32, 4, 24, kAmpere),
    Truncated("ada", kE4M3, 16, 13, kAmpere, kFormatE8M13),
    Truncated("ada", kE5M2, 16, 13, kAmpere, kFormatE8M13),
    Truncated("hopper", kF16, 16, 25, kHopper),
    Truncated("hopper", kBF16, 16, 25, kHopper),
    Truncated("hopper", kTF32, 8, 25, kHopper),
    ThroughF16("hopper", kE4M3),
    ThroughF16("hopper", kE5M2),
    Truncated("hopper-wgmma", kF16, 16, 25, kHopper),
    Truncated("hopper-wgmma", kBF16, 16, 25, kHopper),
    Truncated("hopper-wgmma", kTF32, 8, 25, kHopper),
    Truncated("hopper-wgmma", kE4M3, 32, 13, kHopper, kFormatE8M13),
    Truncated("hopper-wgmma", kE5M2, 32, 13, kHopper, kFormatE8M13),
    BlackwellF16(),
    Truncated("blackwell", kBF16, 16, 25, kHopper),
    Truncated("blackwell", kTF32, 8, 25, kHopper),
    Truncated("blackwell", kE4M3, 32, 25, kHopper),
    Truncated("blackwell", kE5M2, 32, 25, kHopper),
    AMD("cdna1", kF16, Arithmetic::kExactSum, 4),
    AMD("cdna1", kBF16, Arithmetic::kExactSum, 2),
    AMD("cdna1", kF32, Arithmetic::kFMA, 1),
    AMD("cdna2", kF16, Arithmetic::kFlushedPairs, 4),
    AMD("cdna2", kBF16, Arithmetic::kFlushedPairs, 2),
    AMD("cdna2", kBF16_1k, Arithmetic::kFlushedPairs, 4),
    AMD("cdna2", kF32, Arithmetic::kFMA, 1),
    AMD("cdna3", kF16, Arithmetic::kTruncatedThenC, 8, 24, 31, kCDNA3),
    AMD("cdna3", kBF16, Arithmetic::kTruncatedThenC, 8, 24, 31, kCDNA3),
    AMD("cdna3", kXF32, Arithmetic::kTruncatedThenC, 4, 24, 31, kCDNA3),
    AMD("cdna3", kF32, Arithmetic::kFMA, 1),
    AMD("cdna3", kE4M3FNUZ, Arithmetic::kTruncatedParities, 16, 24, 31),
    AMD("cdna3", kE5M2FNUZ, Arithmetic::kTruncatedParities, 16, 24, 31),
});

constexpr std::array<std::string_view, 10> kUnits = {"volta",  "turing",       "ampere",    "ada",
                                                     "hopper", "hopper-wgmma", "blackwell", "cdna1",
                                                     "cdna2",  "cdna3"};

}  // namespace

std::span<const Model> Models() { return kModels; }

std::span<const std::string_view> Units() { return kUnits; }

const Model* FindModel(std::string_view unit, DType dtype, std::string_view input) {
  const auto found = std::find_if(kModels.begin(), kModels.end(), [&](const Model& model) {
    return model.unit == unit && model.dtype == dtype && (input.empty() || model.input == input);
  });
  return found == kModels.end() ? nullptr : &*found;
}

}  // namespace bitanchor::matrix_unit
