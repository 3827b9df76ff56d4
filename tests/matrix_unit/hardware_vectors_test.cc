// The models against what real tensor cores returned: every row, every bit. The data (Khattak and
// Mikaitis, MATLAB-tensor-core, BSD-2-Clause) is not part of the project: it is looked for in
// $BITANCHOR_HARDWARE_VECTORS, else in shared/hardware-vectors beside the repository.
#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <ostream>
#include <string>
#include <vector>

#include "lib/file/safetensors.h"
#include "lib/matrix_unit/dot_add.h"
#include "simd/matrix_unit.h"
#include "simd/targets.h"

namespace bitanchor::matrix_unit {
namespace {

namespace fs = std::filesystem;

// A tensor of results in a file, and the model that must give it.
struct Vectors {
  const char* file;
  const char* output;
  const char* unit;
  bool c_is_zero = false;  // whatever c says
};

void PrintTo(const Vectors& vectors, std::ostream* out) {
  *out << vectors.file << " by " << vectors.unit;
}

constexpr Vectors kVectors[] = {
    {"v100_fp16", "d_fp32", "volta"},  {"v100_fp16", "d_fp16", "volta"},
    {"a100_fp16", "d_fp32", "ampere"}, {"a100_fp16", "d_fp16", "ampere"},
    {"a100_bf16", "d_fp32", "ampere"}, {"a100_tf32", "d_fp32", "ampere"},
    {"l40s_bf16", "d_fp32", "ada"},    {"l40s_e4m3", "d_fp32", "ada"},
    {"l40s_e5m2", "d_fp32", "ada"},    {"h100_fp16", "d_fp32", "hopper"},
    {"h100_fp16", "d_fp16", "hopper"}, {"h100_bf16", "d_fp32", "hopper"},
    {"h100_tf32", "d_fp32", "hopper"}, {"h100_e5m2", "d_fp32", "hopper-wgmma", true},
    {"h100_e5m2", "d_fp16", "hopper"},
};

fs::path Folder() {
  const char* given = std::getenv("BITANCHOR_HARDWARE_VECTORS");
  if (given != nullptr) return given;
  return fs::path(BITANCHOR_SOURCE_DIR).parent_path() / "shared" / "hardware-vectors";
}

uint32_t Load(const TensorEntry& tensor, size_t index) {
  const size_t width = DTypeBytes(tensor.dtype);
  uint32_t bits = 0;
  std::memcpy(&bits, tensor.data + index * width, width);  // of a little-endian host
  return bits;
}

// The rows by the engine, each a product of its own; the number that are not what the GPU gave.
size_t WrongOnLanes(const Vectors& vectors, const Model& model, const TensorEntry& a,
                    const TensorEntry& b, const TensorEntry& c, const TensorEntry& d) {
  const size_t rows = static_cast<size_t>(a.shape[0]);
  size_t wrong = 0;
  for (const simd::Target& target : simd::Targets()) {
    simd::EngineOptions options;
    options.target = target.bit;
    options.threads = 1;
    MatMul product{.model = &model, .result = &model.f32, .G = a.shape[0], .K = a.shape[1]};
    product.a = a.data;
    product.b = b.data;
    product.c = vectors.c_is_zero ? nullptr : c.data;
    std::vector<uint32_t> got(rows);
    std::vector<std::byte> undetermined(rows);
    simd::MatMul(product, options, reinterpret_cast<std::byte*>(got.data()), undetermined.data());
    for (size_t row = 0; row < rows; ++row) wrong += got[row] != Load(d, row);
  }
  return wrong;
}

class HardwareVectors : public testing::TestWithParam<Vectors> {};

TEST_P(HardwareVectors, EveryRow) {
  const Vectors& vectors = GetParam();
  const fs::path path = Folder() / (std::string(vectors.file) + ".safetensors");
  if (!fs::exists(Folder())) {
    GTEST_SKIP() << "SKIPPED: no " << Folder() << "; BITANCHOR_HARDWARE_VECTORS names the folder";
  }
  const SafetensorsFile file = SafetensorsFile::Open(path.string());
  const TensorEntry &a = *file.Find("a"), &b = *file.Find("b"), &c = *file.Find("c"),
                    &d = *file.Find(vectors.output);
  const Model* model = FindModel(vectors.unit, a.dtype);
  ASSERT_NE(model, nullptr);
  const bool half = std::string(vectors.output) == "d_fp16";
  const Result& result = half ? *model->f16 : model->f32;
  const size_t rows = static_cast<size_t>(a.shape[0]), K = static_cast<size_t>(a.shape[1]);
  ASSERT_GE(rows, 1000u);
  size_t wrong = 0, corners = 0;
  std::vector<Unpacked> x(K), y(K);
  for (size_t row = 0; row < rows; ++row) {
    for (size_t k = 0; k < K; ++k) {
      x[k] = Operand(*model, Load(a, row * K + k));
      y[k] = Operand(*model, Load(b, row * K + k));
    }
    uint32_t from = vectors.c_is_zero ? 0 : Load(c, row);
    if (half) from = ToF16(std::bit_cast<float>(from)).bits;
    const Prediction got = ChainedDotAdd(*model, result, x, y, from);
    uint32_t want = Load(d, row);
    if (half) want = ToF16(std::bit_cast<float>(want)).bits;
    corners += !got.determined;
    if (got.bits == want || ++wrong > 3) continue;
    ADD_FAILURE() << "row " << row << std::hex << ": got " << got.bits << " want " << want;
  }
  EXPECT_EQ(wrong, 0u) << "of " << rows << " rows";
  EXPECT_EQ(corners, 0u);
  if (!half) {
    EXPECT_EQ(WrongOnLanes(vectors, *model, a, b, c, d), 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(Files, HardwareVectors, testing::ValuesIn(kVectors),
                         [](const auto& vectors) {
                           return std::string(vectors.param.file) + "_" + vectors.param.output;
                         });

}  // namespace
}  // namespace bitanchor::matrix_unit
