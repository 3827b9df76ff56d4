#include "simd/matrix_unit_panel.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/matrix_unit_panel.cc"
#include "hwy/foreach_target.h"
#include "simd/matrix_unit-inl.h"

#if HWY_ONCE
#include <algorithm>
#include <cstring>

#include "simd/dispatch.h"

namespace bitanchor::simd {

HWY_EXPORT(UnpackA);
HWY_EXPORT(UnpackB);
HWY_EXPORT(Narrow);
HWY_EXPORT(Group);

namespace {

constexpr int64_t kVector = 16;  // operands are unpacked so many at a time

int64_t UpToVector(int64_t count) { return (count + kVector - 1) / kVector * kVector; }

// Of E, for the loops: above every reading's floor, and 2^(E-F) is a normal number.
int LeastExponent(const matrix_unit::Model& model, const matrix_unit::Result& result) {
  int least = model.fraction_bits - 126;
  for (const matrix_unit::Reading& reading : result.readings) {
    least = std::max(least, reading.least_exponent);
  }
  return least;
}

}  // namespace

UnitKernels UnitKernelsOf(int64_t target) {
  return {&BITANCHOR_DISPATCH(UnpackA, target), &BITANCHOR_DISPATCH(UnpackB, target),
          &BITANCHOR_DISPATCH(Narrow, target), &BITANCHOR_DISPATCH(Group, target)};
}

UnitPanel::UnitPanel(const matrix_unit::Model& model, const matrix_unit::Result& result,
                     const UnitKernels& kernels, PanelScratch& scratch)
    : model_(model), kernels_(kernels), s_(scratch) {
  constexpr size_t kA = static_cast<size_t>(kPanelRows * kPanelProducts);
  constexpr size_t kB = static_cast<size_t>(kPanelProducts * kPanelColumns);
  group_ = {.products = model.products,
            .fraction_bits = model.fraction_bits,
            .least_exponent = LeastExponent(model, result) + kExponentBias,
            .rows = 0,
            .columns = 0,
            .a = s_.a.Reserve(kA),
            .a_twice = s_.a_twice.Reserve(kA),
            .b = s_.b.Reserve(kB),
            .b_exponents = s_.b_exponents.Reserve(kB),
            .a_narrow = s_.a_narrow.Reserve(kA),
            .b_narrow = s_.b_narrow.Reserve(kB),
            .base = 0};
  left_ = s_.left.Reserve(static_cast<size_t>(kMostLeft));
}

void UnitPanel::Resize(int64_t rows, int64_t columns) {
  group_.rows = rows;
  group_.columns = (columns + kColumnStep - 1) / kColumnStep * kColumnStep;
  columns_ = columns;
}

// `count` operands and zeros up to a multiple of a vector.
const std::byte* UnitPanel::Padded(const std::byte* from, int64_t count) {
  if (count % kVector == 0) return from;
  const size_t bytes = DTypeBytes(model_.dtype);
  s_.padded.assign(static_cast<size_t>(count + kVector) * bytes, std::byte{0});
  std::memcpy(s_.padded.data(), from, static_cast<size_t>(count) * bytes);
  return s_.padded.data();
}

void UnitPanel::UnpackA(int64_t row, const std::byte* from, int64_t count) {
  kernels_.unpack_a(model_.dtype, Padded(from, count), UpToVector(count),
                    s_.a.Reserve(0) + row * kPanelProducts,
                    s_.a_twice.Reserve(0) + row * kPanelProducts);
}

void UnitPanel::UnpackB(int64_t k, const std::byte* from) {
  float* const values = s_.b.Reserve(0) + k * kPanelColumns;
  int16_t* const exponents = s_.b_exponents.Reserve(0) + k * kPanelColumns;
  if (columns_ < kPanelColumns) {
    std::fill_n(values, kPanelColumns, 0.0f);
    std::fill_n(exponents, kPanelColumns, static_cast<int16_t>(kZeroExponent));
  }
  kernels_.unpack_b(model_.dtype, Padded(from, columns_), UpToVector(columns_), values, exponents);
}

void UnitPanel::Begin(int64_t count) {
  for (int64_t k = count; k < UpToVector(count); ++k) {
    std::fill_n(s_.b.Reserve(0) + k * kPanelColumns, kPanelColumns, 0.0f);
    std::fill_n(s_.b_exponents.Reserve(0) + k * kPanelColumns, kPanelColumns,
                static_cast<int16_t>(kZeroExponent));
  }
  const UnitChunk unpacked = {group_.rows, UpToVector(count), group_.least_exponent, group_.a_twice,
                              group_.b_exponents};
  narrow_ = kernels_.narrow(unpacked, s_.a_narrow.Reserve(0), s_.b_narrow.Reserve(0), group_.base);
}

std::span<const LeftLanes> UnitPanel::Group(int64_t k, float* c, float* c_high) {
  UnitGroup group = group_;
  group.a += k;
  group.a_twice += k;
  group.b += k * kPanelColumns;
  group.b_exponents += k * kPanelColumns;
  group.a_narrow += k;
  group.b_narrow = narrow_ ? group_.b_narrow + k * kPanelColumns : nullptr;
  return {left_, static_cast<size_t>(kernels_.group(group, c, c_high, left_))};
}

std::span<const LeftLanes> UnitPanel::Group(int64_t k, const PanelRows& rows, float* c,
                                            float* c_high) {
  UnitGroup group = group_;
  group.rows = rows.rows;
  group.a = rows.a;
  group.a_twice = rows.a_twice;
  group.b += k * kPanelColumns;
  group.b_exponents += k * kPanelColumns;
  group.b_narrow = nullptr;
  return {left_, static_cast<size_t>(kernels_.group(group, c, c_high, left_))};
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
