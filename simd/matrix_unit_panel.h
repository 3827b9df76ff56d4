// Operands of a panel of a matrix unit's results in one worker's memory, and their groups on lanes.
#ifndef BITANCHOR_SIMD_MATRIX_UNIT_PANEL_H_
#define BITANCHOR_SIMD_MATRIX_UNIT_PANEL_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "lib/matrix_unit/model.h"
#include "simd/matrix_unit_plan.h"
#include "simd/scratch.h"

namespace bitanchor::simd {

// One worker's memory.
struct PanelScratch {
  AlignedBuffer<float> a, b;
  AlignedBuffer<int32_t> a_twice, a_narrow;
  AlignedBuffer<int16_t> b_exponents;
  AlignedBuffer<int8_t> b_narrow;
  AlignedBuffer<LeftLanes> left;
  std::vector<std::byte> padded;  // a row of operands, zeros after its end
};

// Rows that stand beside a panel's, for one group of its products.
struct PanelRows {
  int64_t rows;            // <= kPanelRows
  const float* a;          // [rows, kPanelProducts], of which a group's products count
  const int32_t* a_twice;  // the same
};

class UnitPanel {
 public:
  // The model must be one for which OnLanes (simd/matrix_unit.h) is true.
  UnitPanel(const matrix_unit::Model& model, const matrix_unit::Result& result,
            const UnitKernels& kernels, PanelScratch& scratch);

  // At most kPanelRows and kPanelColumns. What was unpacked stays, the columns' excess apart.
  void Resize(int64_t rows, int64_t columns);

  // a's row: `count` operands, at most kPanelProducts, and zeros to the end of the last group.
  void UnpackA(int64_t row, const std::byte* from, int64_t count);
  // 16 operands of a row that is no part of the panel.
  void UnpackApart(const std::byte* from, float* a, int32_t* a_twice) const {
    kernels_.unpack_a(model_.dtype, from, 16, a, a_twice);
  }
  // b's row for the products `k`: its columns' operands.
  void UnpackB(int64_t k, const std::byte* from);

  // After unpacking, before the groups of products [0, count): b's rows from count to the end of
  // the last group become zeros.
  void Begin(int64_t count);
  // The group of products [k, k + L): UnitKernels::group, and what it left. c_high: nullptr, or as
  // there. Columns past the panel's end are computed as well.
  std::span<const LeftLanes> Group(int64_t k, float* c, float* c_high);
  // The same of other rows.
  std::span<const LeftLanes> Group(int64_t k, const PanelRows& rows, float* c, float* c_high);

 private:
  const std::byte* Padded(const std::byte* from, int64_t count);

  const matrix_unit::Model& model_;
  const UnitKernels& kernels_;
  PanelScratch& s_;
  UnitGroup group_;
  int64_t columns_ = 0;  // group_'s are more
  bool narrow_ = false;
  LeftLanes* left_;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_MATRIX_UNIT_PANEL_H_
