#include "lib/recipe/contract.h"

#include <cassert>

namespace bitanchor {
namespace {

constexpr double kUlp = 0x1p-23;  // one f32 ulp, relative

// The freedoms of the flash family: f32 sums of any order and depth 512 + n/16 (tiles of up to 512
// keys, down to 16), exp within 32 ulp (PyTorch's CPU kernels: within 20), one rounding of the
// output.
constexpr Contract Flash(std::string_view name, DType dtype, double weight_rounding,
                         double weight_absolute, std::string_view says) {
  return {
      name,     dtype, kUlp, 512, 16,  32 * kUlp, 16,   8 * kUlp, weight_rounding, weight_absolute,
      0x1p-126, 2,     512,  32,  256, 12,        0.02, says};
}

constexpr Contract kContracts[] = {
    Flash("flash-bf16", DType::kBF16, 0x1p-8, 0x1p-126,
          "f32 sums in any order, exp within 32 ulp, P in bf16 or f32, one rounding to bf16"),
    Flash("flash-f16", DType::kF16, 0x1p-11, 0x1p-25,
          "f32 sums in any order, exp within 32 ulp, P in f16 or f32, one rounding to f16"),
    Flash("flash-f32", DType::kF32, 0, 0, "f32 sums in any order, exp within 32 ulp, P in f32"),
};

}  // namespace

std::span<const Contract> Contracts() { return kContracts; }

const Contract* FindContract(std::string_view name) {
  for (const Contract& contract : kContracts) {
    if (contract.name == name) return &contract;
  }
  return nullptr;
}

const Contract& DefaultContract(DType dtype) {
  for (const Contract& contract : kContracts) {
    if (contract.dtype == dtype) return contract;
  }
  assert(false && "every floating dtype has a contract");
  return kContracts[0];
}

}  // namespace bitanchor
