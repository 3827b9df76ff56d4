// Chains of a matrix unit's groups where c, and now and then an element of a, is known to lie
// between two numbers: matrix_unit::DotAddHull on lanes.
#ifndef BITANCHOR_SIMD_HULL_CHAIN_H_
#define BITANCHOR_SIMD_HULL_CHAIN_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/matrix_unit/hull.h"
#include "lib/matrix_unit/model.h"
#include "simd/matrix_unit_panel.h"
#include "simd/scratch.h"

namespace bitanchor::simd {

// An element of a that is one of two neighbours: a's own bits, or these.
struct OpenElement {
  int64_t row, k;
  uint16_t high;
};

// Operands in 16 bits.
struct HullOperands {
  const uint16_t* a;                    // [rows, kPanelProducts], the lower ends
  std::span<const std::byte* const> b;  // of each product, the columns' elements
  std::span<const OpenElement> open;    // by row, then by k
  std::vector<bool>* anything;          // [rows]: set where a result may be anything
  int64_t rows, columns;
};

// One worker's memory.
struct HullScratch {
  PanelScratch panel;
  AlignedBuffer<float> saved, choices;
  AlignedBuffer<int32_t> choices_twice;
  std::vector<std::vector<OpenElement>> open;  // by group
};

class HullChain {
 public:
  HullChain(const matrix_unit::Model& model, const UnitKernels& kernels, HullScratch& scratch);

  // low and high [rows, kPanelColumns] become the hulls of the sums from there. high: nullptr where
  // every set is of one number, and nothing is open. Rows that may be anything already stay as they
  // are, or become anything at all.
  void Add(const HullOperands& operands, float* low, float* high);

 private:
  void AddGroup(const HullOperands& operands, int64_t k, std::span<const OpenElement> open,
                float* low, float* high);
  void Choose(const HullOperands& operands, int64_t k, std::span<const OpenElement> of_row,
              float* low, float* high);
  void Define(const HullOperands& operands, int64_t k, std::span<const OpenElement> of_row,
              int64_t row, int64_t column, float& low, float& high);

  const matrix_unit::Model& model_;
  HullScratch& s_;
  UnitPanel panel_;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_HULL_CHAIN_H_
