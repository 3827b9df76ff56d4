#include "lib/recipe/contract.h"

#include <algorithm>
#include <bit>
#include <cassert>
#include <cmath>
#include <vector>

namespace bitanchor {
namespace {

constexpr double kUlp = 0x1p-23;  // one f32 ulp, relative

// With P in the 16-bit type or in f32.
Contract Rounding16(DType dtype, std::string name) {
  Contract c;
  c.dtype = dtype;
  c.name = std::move(name) + (dtype == DType::kBF16 ? "-bf16" : "-f16");
  c.weight_rounding = dtype == DType::kBF16 ? 0x1p-8 : 0x1p-11;
  c.weight_absolute = dtype == DType::kBF16 ? 0x1p-126 : 0x1p-25;
  return c;
}

// f32 sums in any order of depth 512 + n/16: tiles of up to 512 keys, down to 16. exp within 32 ulp
// (PyTorch's CPU kernels: within 20).
Contract Flash(Contract c) {
  c.depth_base = 512;
  c.depth_keys = c.row_sum_keys = 16;
  c.exp_error = c.rescale_exp_error = 32 * kUlp;
  c.rescale_keys = 16;
  c.log_error = 8 * kUlp;
  c.source =
      "FlashAttention-2, arXiv 2307.08691; PyTorch aten/src/ATen/native/cpu/"
      "FlashAttentionKernel.cpp";
  return c;
}

Contract Flash16(DType dtype) {
  Contract c = Flash(Rounding16(dtype, "flash"));
  const std::string type = dtype == DType::kBF16 ? "bf16" : "f16";
  c.says =
      "f32 sums in any order, exp within 32 ulp, P in " + type + " or f32, one rounding to " + type;
  return c;
}

Contract FlashF32() {
  Contract c;
  c.dtype = DType::kF32;
  c.name = "flash-f32";
  c.says = "f32 sums in any order, exp within 32 ulp, P in f32";
  return Flash(c);
}

// Tiles of 64 keys or more. Each of the four threads that share a row adds up its own weights.
Contract FlashGpu(DType dtype, std::string name = "flash-gpu") {
  Contract c = Rounding16(dtype, std::move(name));
  c.depth_base = 128;
  c.depth_keys = 64;
  c.row_sum_keys = 4;
  c.exp_error = c.rescale_exp_error = 2 * kUlp;
  c.rescale_keys = 64;
  c.log_error = 4 * kUlp;
  c.says =
      "f32 sums of depth 128 + n/64 (weights: n/4), exp within 2 ulp, tiles of 64 keys or more";
  c.source =
      "FlashAttention-2, arXiv 2307.08691, csrc/flash_attn/src/softmax.h; CUDA C++ "
      "Programming Guide, mathematical functions";
  return c;
}

constexpr MatrixUnit kVolta = {4, 23}, kAmpere = {8, 24}, kBlackwell = {16, 25};

// The unit of those meant that has the greatest error. bf16: Ampere, Ada, Hopper, Blackwell; f16:
// Volta and Turing as well.
MatrixUnit WorstUnit(DType dtype) { return dtype == DType::kBF16 ? kAmpere : kVolta; }

Contract TensorCore(DType dtype) {
  Contract c = FlashGpu(dtype, "tensor-core");
  c.dot_dims = 16;
  c.unit = WorstUnit(dtype);
  c.says = dtype == DType::kBF16
               ? "as flash-gpu, products summed by truncating units: Ampere to Blackwell, mma and "
                 "wgmma with f32 accumulators"
               : "as flash-gpu, products summed by truncating units: Volta to Blackwell, mma and "
                 "wgmma with f32 accumulators";
  c.source = "MMA-Sim, arXiv 2511.10909; Khattak and Mikaitis, arXiv 2512.07004";
  return c;
}

Contract Eager(DType dtype) {
  Contract c = Rounding16(dtype, "eager");
  const double u = c.weight_rounding;
  c.operation = 0x1p-24;
  c.depth_base = 128;
  c.depth_keys = 1;
  c.row_sum_keys = 4;
  c.unit = WorstUnit(dtype);
  c.exp_error = 32 * kUlp;
  c.log_error = 8 * kUlp;
  c.score_rounding = 2 * u + u * u;
  c.score_absolute = c.weight_absolute;
  c.normalise_first = true;
  // Scores of one binade lie on one grid and are rounded alike.
  c.bias_floor = 0.05;
  c.says =
      "scores rounded after the product and after the scale, softmax in f32, P normalised, "
      "then rounded";
  c.source = "transformers, models/llama/modeling_llama.py, eager_attention_forward; PyTorch";
  return c;
}

// FlashAttention-4 makes some of its weights with a polynomial of degree 3 that errs by 8.8e-5.
Contract SkipRescale(DType dtype) {
  Contract c = FlashGpu(dtype, "skip-rescale");
  c.dot_dims = 16;
  c.unit = kBlackwell;
  c.exp_error = 0x1p-13;
  c.stale_log2 = 8;
  c.says =
      "Blackwell's units, exp within 2^-13, no rescaling while the maximum grew by less than a "
      "factor 2^8 of weights";
  c.source =
      "FlashAttention-4, Dao-AILab/flash-attention, assets/fa4_paper.pdf, "
      "flash_attn/cute/softmax.py and utils.py";
  return c;
}

std::vector<Contract> All() {
  std::vector<Contract> all;
  for (const DType dtype : {DType::kBF16, DType::kF16}) all.push_back(Flash16(dtype));
  all.push_back(FlashF32());
  for (const auto& make :
       {+[](DType dtype) { return FlashGpu(dtype); }, &TensorCore, &Eager, &SkipRescale}) {
    for (const DType dtype : {DType::kBF16, DType::kF16}) all.push_back(make(dtype));
  }
  return all;
}

}  // namespace

int64_t Contract::GradientQueryTile(int64_t queries) const {
  const int64_t tile = std::clamp(queries / gradient_query_tiles, gradient_query_tile_least,
                                  gradient_query_tile_most);
  return static_cast<int64_t>(std::bit_floor(static_cast<uint64_t>(tile)));
}

double Contract::UnitError(double n, double groups) const {
  if (unit.products == 0) return 0;
  const double cut =
      unit.fraction_bits == 0 ? 0 : std::ldexp(1.0, -static_cast<int>(unit.fraction_bits));
  return n * cut + groups * (cut + unit.rounding) + unit.product;
}

Contract Contract::On(const MatrixUnit& other, double absolute, std::string_view unit_name) const {
  Contract c = *this;
  c.unit = other;
  c.flush = std::max(c.flush, absolute);
  c.weight_absolute = std::max(c.weight_absolute, other.flush);
  c.name += "/" + std::string(unit_name);
  c.says += ", of unit " + std::string(unit_name) + " alone";
  return c;
}

namespace {

// What scores lose likewise to the unit: over 256 dimensions, three quarters of which cancel.
double ScoreBias(const Contract& c) {
  const double L = static_cast<double>(std::max<int64_t>(1, c.unit.products));
  return 4 * c.UnitError(256, 256 / L) / 2;
}

}  // namespace

double Contract::SumBias(int64_t keys) const {
  const double n = static_cast<double>(keys);
  const double L = static_cast<double>(std::max<int64_t>(1, unit.products));
  return (operation * std::max(Depth(n), RowSumDepth(n)) + UnitError(n, n / L)) / 2;
}

double Contract::BiasFloor(int64_t visible_keys, double u) const {
  return std::max({bias_floor, SumBias(visible_keys) / u, ScoreBias(*this) / u, 2 * exp_error / u});
}

double Contract::LseBiasFloor(int64_t visible_keys) const {
  return SumBias(visible_keys) + ScoreBias(*this) + exp_error;
}

std::span<const Contract> Contracts() {
  static const std::vector<Contract> contracts = All();
  return contracts;
}

const Contract* FindContract(std::string_view name) {
  for (const Contract& contract : Contracts()) {
    if (contract.name == name) return &contract;
  }
  return nullptr;
}

const Contract& DefaultContract(DType dtype) {
  for (const Contract& contract : Contracts()) {
    if (contract.dtype == dtype) return contract;
  }
  assert(false && "every floating dtype has a contract");
  return Contracts()[0];
}

}  // namespace bitanchor
