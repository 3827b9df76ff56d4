#include "simd/matrix_unit.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "lib/matrix_unit/dot_add.h"
#include "simd/matrix_unit_panel.h"
#include "simd/parallel.h"
#include "simd/scratch.h"

namespace bitanchor::simd {
namespace {

using matrix_unit::Arithmetic;
using matrix_unit::Block;
using matrix_unit::Model;
using matrix_unit::Result;

// One worker's memory.
struct BlockScratch {
  PanelScratch panel;
  AlignedBuffer<float> c, sum;
  std::vector<bool> corner;
};

constexpr size_t kPanel = static_cast<size_t>(kPanelRows * kPanelColumns);

// A block of at most kPanelRows x kPanelColumns results.
class BlockOnLanes {
 public:
  BlockOnLanes(const matrix_unit::MatMul& product, const Block& block, const UnitKernels& kernels,
               BlockScratch& scratch)
      : product_(product),
        model_(*product.model),
        block_(block),
        s_(scratch),
        panel_(model_, *product.result, kernels, scratch.panel) {
    panel_.Resize(block.rows, block.columns);
    c_ = s_.c.Reserve(kPanel);
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

  const std::byte* Element(const std::byte* data, int64_t index) const {
    return data + index * static_cast<int64_t>(DTypeBytes(model_.dtype));
  }

  // The groups of products [begin, end) onto c.
  void Chain(int64_t begin, int64_t end) {
    for (int64_t chunk = begin; chunk < end; chunk += kPanelProducts) {
      const int64_t count = std::min(kPanelProducts, end - chunk);
      for (int64_t i = 0; i < block_.rows; ++i) {
        const int64_t row = block_.g * product_.M + block_.m + i;
        panel_.UnpackA(i, Element(product_.a, row * product_.K + chunk), count);
      }
      for (int64_t k = 0; k < count; ++k) {
        const int64_t row = block_.g * product_.K + chunk + k;
        panel_.UnpackB(k, Element(product_.b, row * product_.N + block_.n));
      }
      panel_.Begin(count);
      for (int64_t k = 0; k < count; k += model_.products) {
        for (const LeftLanes& left : panel_.Group(k, c_, nullptr)) {
          Define(left, chunk + k, std::min<int64_t>(model_.products, count - k));
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
  BlockScratch& s_;
  UnitPanel panel_;
  float* c_ = nullptr;  // [kPanelRows, kPanelColumns]
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
  const UnitKernels kernels = UnitKernelsOf(options.target);
  std::vector<BlockScratch> scratch(static_cast<size_t>(Workers(options)));
  return ForBlocks(product, RowsOfPanel(product, options), kPanelColumns, options,
                   [&](const Block& block, int worker) {
                     return BlockOnLanes(product, block, kernels,
                                         scratch[static_cast<size_t>(worker)])
                         .Run(d, undetermined);
                   });
}

void F64MatMul(const matrix_unit::F64MatMul& product, const EngineOptions& options, std::byte* d) {
  ParallelFor(options, product.G * product.M, [&](int64_t row, int /*worker*/) {
    PredictF64Row(product, row / product.M, row % product.M, d);
  });
}

}  // namespace bitanchor::simd
