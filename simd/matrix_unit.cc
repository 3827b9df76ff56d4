#include "simd/matrix_unit.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/matrix_unit.cc"
#include "hwy/foreach_target.h"
#include "simd/matrix_unit-inl.h"

#if HWY_ONCE
#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "lib/matrix_unit/dot_add.h"
#include "simd/dispatch.h"
#include "simd/parallel.h"
#include "simd/scratch.h"

namespace bitanchor::simd {

HWY_EXPORT(UnpackA);
HWY_EXPORT(UnpackB);
HWY_EXPORT(Narrow);
HWY_EXPORT(Group);

namespace {

using matrix_unit::Arithmetic;
using matrix_unit::Block;
using matrix_unit::Model;
using matrix_unit::Reading;
using matrix_unit::Result;

UnitKernels KernelsOf(int64_t target) {
  return {&BITANCHOR_DISPATCH(UnpackA, target), &BITANCHOR_DISPATCH(UnpackB, target),
          &BITANCHOR_DISPATCH(Narrow, target), &BITANCHOR_DISPATCH(Group, target)};
}

// One worker's memory.
struct PanelScratch {
  AlignedBuffer<float> a, b, c, sum;
  AlignedBuffer<int32_t> a_twice, a_narrow;
  AlignedBuffer<int16_t> b_exponents;
  AlignedBuffer<int8_t> b_narrow;
  AlignedBuffer<LeftLanes> left;
  std::vector<bool> corner;
  std::vector<std::byte> padded;  // a row of operands, zeros after its end
};

constexpr size_t kPanel = static_cast<size_t>(kPanelRows * kPanelColumns);

// A block of at most kPanelRows x kPanelColumns results.
class Panel {
 public:
  Panel(const matrix_unit::MatMul& product, const Block& block, const UnitKernels& kernels,
        PanelScratch& scratch)
      : product_(product), model_(*product.model), block_(block), kernels_(kernels), s_(scratch) {
    c_ = s_.c.Reserve(kPanel);
    constexpr size_t kA = static_cast<size_t>(kPanelRows * kPanelProducts);
    constexpr size_t kB = static_cast<size_t>(kPanelProducts * kPanelColumns);
    group_ = {.products = model_.products,
              .fraction_bits = model_.fraction_bits,
              .least_exponent = LeastExponent() + kExponentBias,
              .rows = block.rows,
              .columns = (block.columns + kColumnStep - 1) / kColumnStep * kColumnStep,
              .a = s_.a.Reserve(kA),
              .a_twice = s_.a_twice.Reserve(kA),
              .b = s_.b.Reserve(kB),
              .b_exponents = s_.b_exponents.Reserve(kB),
              .a_narrow = s_.a_narrow.Reserve(kA),
              .b_narrow = s_.b_narrow.Reserve(kB),
              .base = 0};
    left_ = s_.left.Reserve(static_cast<size_t>(kMostLeft));
    s_.corner.assign(kPanel, false);
  }

  // As PredictBlock.
  int64_t Run(std::byte* d, std::byte* undetermined) {
    const int64_t groups = matrix_unit::Groups(model_, product_.K);
    const int64_t run = (groups + product_.slices - 1) / product_.slices * model_.products;
    for (int64_t k = 0; k < product_.K; k += run) {
      StartFrom(k == 0 ? product_.c : nullptr);
      Chain(k, std::min(k + run, product_.K));
      if (product_.slices > 1) AddToSum(k == 0);
    }
    const float* from = product_.slices > 1 ? s_.sum.Reserve(kPanel) : c_;
    for (int64_t i = 0; i < block_.rows; ++i) {
      const size_t width = static_cast<size_t>(block_.columns);
      std::memcpy(d + ResultAt(i) * 4, from + i * kPanelColumns, 4 * width);
      std::fill_n(undetermined + ResultAt(i), width, std::byte{0});
    }
    return AskAboutCorners(d, undetermined);
  }

 private:
  int64_t ResultAt(int64_t i) const {
    return (block_.g * product_.M + block_.m + i) * product_.N + block_.n;
  }

  // Of E, for the loops: above every reading's floor, and 2^(E-F) is a normal number.
  int LeastExponent() const {
    int least = model_.fraction_bits - 126;
    for (const Reading& reading : product_.result->readings) {
      least = std::max(least, reading.least_exponent);
    }
    return least;
  }

  // c, or +0 (nullptr). Columns past the end start from 1, which needs no definition.
  void StartFrom(const std::byte* c) {
    for (int64_t i = 0; i < block_.rows; ++i) {
      float* const row = c_ + i * kPanelColumns;
      const size_t width = static_cast<size_t>(block_.columns);
      std::fill(row + width, row + kPanelColumns, 1.0f);
      if (c == nullptr) {
        std::fill_n(row, width, 0.0f);
      } else {
        std::memcpy(row, c + ResultAt(i) * 4, 4 * width);
      }
    }
  }

  // `count` operands from element `first` on, and zeros up to a multiple of a vector.
  const std::byte* Padded(const std::byte* data, int64_t first, int64_t count) {
    const size_t bytes = DTypeBytes(model_.dtype);
    const std::byte* from = data + first * static_cast<int64_t>(bytes);
    if (count % 16 == 0) return from;
    s_.padded.assign(static_cast<size_t>(count + 16) * bytes, std::byte{0});
    std::memcpy(s_.padded.data(), from, static_cast<size_t>(count) * bytes);
    return s_.padded.data();
  }
  static int64_t UpToVector(int64_t count) { return (count + 15) / 16 * 16; }

  // Products [k, k + count), count <= kPanelProducts, and zeros to the end of the last group.
  void Unpack(int64_t k, int64_t count) {
    for (int64_t i = 0; i < block_.rows; ++i) {
      const int64_t first = (block_.g * product_.M + block_.m + i) * product_.K + k;
      kernels_.unpack_a(model_.dtype, Padded(product_.a, first, count), UpToVector(count),
                        s_.a.Reserve(0) + i * kPanelProducts,
                        s_.a_twice.Reserve(0) + i * kPanelProducts);
    }
    for (int64_t n = 0; n < UpToVector(count); ++n) {
      float* const values = s_.b.Reserve(0) + n * kPanelColumns;
      int16_t* const exponents = s_.b_exponents.Reserve(0) + n * kPanelColumns;
      if (n >= count || block_.columns < kPanelColumns) {
        std::fill_n(values, kPanelColumns, 0.0f);
        std::fill_n(exponents, kPanelColumns, static_cast<int16_t>(kZeroExponent));
      }
      if (n >= count) continue;
      const int64_t first = (block_.g * product_.K + k + n) * product_.N + block_.n;
      kernels_.unpack_b(model_.dtype, Padded(product_.b, first, block_.columns),
                        UpToVector(block_.columns), values, exponents);
    }
  }

  // The groups of products [begin, end) onto c.
  void Chain(int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; chunk += kPanelProducts) {
      const int64_t count = std::min(kPanelProducts, end - chunk);
      Unpack(chunk, count);
      const UnitChunk unpacked = {block_.rows, UpToVector(count), group_.least_exponent,
                                  group_.a_twice, group_.b_exponents};
      int base = 0;
      const bool narrow =
          kernels_.narrow(unpacked, s_.a_narrow.Reserve(0), s_.b_narrow.Reserve(0), base);
      for (int64_t k = 0; k < count; k += model_.products) {
        UnitGroup group = group_;
        group.a += k;
        group.a_twice += k;
        group.b += k * kPanelColumns;
        group.b_exponents += k * kPanelColumns;
        group.a_narrow += k;
        group.b_narrow = narrow ? group_.b_narrow + k * kPanelColumns : nullptr;
        group.base = base;
        const int64_t left = kernels_.group(group, c_, left_);
        for (int64_t n = 0; n < left; ++n) {
          Define(left_[n], chunk + k, std::min<int64_t>(model_.products, count - k));
        }
      }
    }
  }

  // What the loops left, by the definition.
  void Define(const LeftLanes& left, int64_t k, int64_t count) {
    for (uint32_t lanes = left.lanes; lanes != 0; lanes &= lanes - 1) {
      const int64_t column = left.column + std::countr_zero(lanes);
      if (column >= block_.columns) return;
      const int64_t at = left.row * kPanelColumns + column;
      bool corner = false;
      c_[at] = std::bit_cast<float>(
          matrix_unit::PredictGroup(product_, block_.g, block_.m + left.row, block_.n + column, k,
                                    count, std::bit_cast<uint32_t>(c_[at]), corner));
      if (corner) s_.corner[static_cast<size_t>(at)] = true;
    }
  }

  // The slices' results, in ascending order.
  void AddToSum(bool first) {
    float* const sum = s_.sum.Reserve(kPanel);
    const float nan = std::bit_cast<float>(product_.result->nan);
    for (int64_t n = 0; n < block_.rows * kPanelColumns; ++n) {
      if (first) {
        sum[n] = c_[n];
        continue;
      }
      const float more = sum[n] + c_[n];
      sum[n] = std::isnan(more) ? nan : more;
    }
  }

  // Elements that met what readings may differ on: the definition, over all of K.
  int64_t AskAboutCorners(std::byte* d, std::byte* undetermined) {
    int64_t count = 0;
    for (int64_t i = 0; i < block_.rows; ++i) {
      for (int64_t j = 0; j < block_.columns; ++j) {
        if (!s_.corner[static_cast<size_t>(i * kPanelColumns + j)]) continue;
        const Block element = {block_.g, block_.m + i, block_.n + j, 1, 1};
        count += PredictBlock(product_, element, d, undetermined);
      }
    }
    return count;
  }

  const matrix_unit::MatMul& product_;
  const Model& model_;
  const Block block_;
  const UnitKernels& kernels_;
  PanelScratch& s_;
  UnitGroup group_;
  float* c_ = nullptr;  // [kPanelRows, kPanelColumns]
  LeftLanes* left_ = nullptr;
};

// body(block, worker) for every block of at most so many rows and columns; the sum of what they
// return.
template <typename Body>
int64_t ForBlocks(const matrix_unit::MatMul& product, int64_t rows, int64_t columns,
                  const EngineOptions& options, const Body& body) {
  const int64_t down = (product.M + rows - 1) / rows, across = (product.N + columns - 1) / columns;
  std::atomic<int64_t> sum = 0;
  ParallelFor(options, product.G * down * across, [&](int64_t task, int worker) {
    Block block{task / (down * across), task / across % down * rows, task % across * columns};
    block.rows = std::min(rows, product.M - block.m);
    block.columns = std::min(columns, product.N - block.n);
    sum += body(block, worker);
  });
  return sum;
}

// All, but fewer where some workers would have none. Any number gives the same bits.
int64_t RowsOfPanel(const matrix_unit::MatMul& product, const EngineOptions& options) {
  const int64_t across = product.G * ((product.N + kPanelColumns - 1) / kPanelColumns);
  const int64_t workers = Workers(options);
  int64_t rows = kPanelRows;
  while (workers > 1 && rows > 32 && across * ((product.M + rows - 1) / rows) < 2 * workers) {
    rows /= 2;
  }
  return rows;
}

}  // namespace

bool OnLanes(const Model& model, const Result& result) {
  const bool operand = model.dtype == DType::kBF16 || model.dtype == DType::kF16 ||
                       (model.dtype == DType::kF32 && model.operand.precision == 11);
  return operand && model.arithmetic == Arithmetic::kTruncatedSum && model.fraction_bits >= 23 &&
         model.fraction_bits <= 25 && model.products <= 16 &&
         result.rounding == Rounding::kTowardZero &&
         result.format.precision == kFormatF32.precision;
}

int64_t MatMul(const matrix_unit::MatMul& product, const EngineOptions& options, std::byte* d,
               std::byte* undetermined) {
  if (!OnLanes(*product.model, *product.result)) {
    constexpr int64_t kRows = 32, kColumns = 128;  // a's rows are unpacked once in a block
    return ForBlocks(product, kRows, kColumns, options, [&](const Block& block, int /*worker*/) {
      return PredictBlock(product, block, d, undetermined);
    });
  }
  const UnitKernels kernels = KernelsOf(options.target);
  std::vector<PanelScratch> scratch(static_cast<size_t>(Workers(options)));
  return ForBlocks(product, RowsOfPanel(product, options), kPanelColumns, options,
                   [&](const Block& block, int worker) {
                     return Panel(product, block, kernels, scratch[static_cast<size_t>(worker)])
                         .Run(d, undetermined);
                   });
}

void F64MatMul(const matrix_unit::F64MatMul& product, const EngineOptions& options, std::byte* d) {
  ParallelFor(options, product.G * product.M, [&](int64_t row, int /*worker*/) {
    PredictF64Row(product, row / product.M, row % product.M, d);
  });
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
