// A strided window onto memory somebody else owns, always seen as [B, S, H, D] whatever its layout.
#ifndef BITANCHOR_LIB_TENSOR_TENSOR_VIEW_H_
#define BITANCHOR_LIB_TENSOR_TENSOR_VIEW_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "lib/number/format.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

using Shape4 = std::array<int64_t, 4>;  // [B, S, H, D]

enum class Layout { kBSHD, kBHSD, kTHD };  // thd: [T, H, D] with B = 1

// Strides in elements of a dense tensor of logical shape [B, S, H, D] stored in `layout`.
// D is contiguous in all of them.
inline Shape4 DenseStrides(const Shape4& shape, Layout layout) {
  const auto [B, S, H, D] = shape;
  (void)B;
  if (layout == Layout::kBHSD) return {H * S * D, D, S * D, 1};
  return {S * H * D, H * D, D, 1};
}

// Reads one element of a floating type as f32 (exact). `data` needs no alignment.
inline float LoadF32(DType dtype, const std::byte* data) {
  if (dtype == DType::kF32) {
    float value;
    std::memcpy(&value, data, sizeof value);
    return value;
  }
  uint16_t bits;
  std::memcpy(&bits, data, sizeof bits);
  return dtype == DType::kBF16 ? ToF32(BF16{bits}) : ToF32(F16{bits});
}

// x rounded once to a floating type, as the f32 that equals the result.
inline float RoundTo(DType dtype, double x, Rounding mode = Rounding::kNearestEven) {
  if (dtype == DType::kBF16) return ToF32(ToBF16(x, mode));
  if (dtype == DType::kF16) return ToF32(ToF16(x, mode));
  return RoundToF32(x, mode);
}

// Rounds to the type, nearest-even, and stores (NaN becomes the canonical quiet NaN).
inline void StoreRounded(DType dtype, std::byte* data, float value) {
  if (dtype == DType::kF32) {
    value = Canonical(value);
    std::memcpy(data, &value, sizeof value);
    return;
  }
  const uint16_t bits = dtype == DType::kBF16 ? ToBF16(value).bits : ToF16(value).bits;
  std::memcpy(data, &bits, sizeof bits);
}

template <typename Byte>  // std::byte or const std::byte
struct BasicTensorView {
  DType dtype = DType::kF32;
  Byte* data = nullptr;  // null: the tensor is absent
  Shape4 shape = {};     // [B, S, H, D]
  Shape4 stride = {};    // in elements; stride[3] == 1

  explicit operator bool() const { return data != nullptr; }
  // The D contiguous elements of one head of one token.
  Byte* Row(int64_t b, int64_t s, int64_t h) const {
    return data + (b * stride[0] + s * stride[1] + h * stride[2]) *
                      static_cast<int64_t>(DTypeBytes(dtype));
  }
  float At(int64_t b, int64_t s, int64_t h, int64_t d) const {
    return LoadF32(dtype, Row(b, s, h) + d * static_cast<int64_t>(DTypeBytes(dtype)));
  }
  int64_t Elements() const { return shape[0] * shape[1] * shape[2] * shape[3]; }
  operator BasicTensorView<const std::byte>() const { return {dtype, data, shape, stride}; }
};

using TensorView = BasicTensorView<const std::byte>;
using MutableTensorView = BasicTensorView<std::byte>;

// Rounds the D numbers of one head of one token and stores them, as StoreRounded does.
inline void StoreRow(const MutableTensorView& to, int64_t b, int64_t s, int64_t h,
                     const float* from) {
  std::byte* row = to.Row(b, s, h);
  const int64_t size_bytes = static_cast<int64_t>(DTypeBytes(to.dtype));
  for (int64_t d = 0; d < to.shape[3]; ++d) {
    StoreRounded(to.dtype, row + d * size_bytes, from[d]);
  }
}

template <typename Byte>
BasicTensorView<Byte> DenseView(DType dtype, Byte* data, const Shape4& shape,
                                Layout layout = Layout::kBSHD) {
  return {dtype, data, shape, DenseStrides(shape, layout)};
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_TENSOR_TENSOR_VIEW_H_
