// Looking ahead in memory while something else is computed.
#ifndef BITANCHOR_SIMD_ROWS_AHEAD_H_
#define BITANCHOR_SIMD_ROWS_AHEAD_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "lib/tensor/tensor_view.h"

namespace bitanchor::simd {

// Asks for the rows of some neighbouring heads, a few cache lines at a time. Into the second cache:
// the first has few places for lines on their way, and what is computed meanwhile needs them.
class RowsAhead {
 public:
  RowsAhead(const TensorView& tensor, int64_t b, int64_t first_head, int64_t heads)
      : tensor_(tensor), b_(b), first_head_(first_head), heads_(heads), row_bytes_(RowBytes()) {
    if (tensor.stride[2] == tensor.shape[3]) {  // one after the other: as one long row
      row_bytes_ *= heads_;
      heads_ = 1;
    }
  }

  // From now on keys [first, last).
  void Begin(int64_t first, int64_t last) {
    row_ = first * heads_ - 1;
    last_row_ = std::min(last, tensor_.shape[1]) * heads_ - 1;
    NextRow();
  }

  void Next(int64_t lines) {
    for (; lines > 0 && at_ != nullptr; --lines) {
      __builtin_prefetch(at_, 0, 2);
      at_ += kLine_bytes;
      if (at_ >= end_) NextRow();
    }
  }

  // Lines to ask for at each of `steps` steps of a slice of `keys` keys, for every head.
  int64_t LinesAtATime(int64_t keys, int64_t steps) const {
    const int64_t lines = keys * ((RowBytes() + kLine_bytes - 1) / kLine_bytes);
    return (lines + steps - 1) / steps;
  }

 private:
  static constexpr int64_t kLine_bytes = 64;

  int64_t RowBytes() const {
    return tensor_.shape[3] * static_cast<int64_t>(DTypeBytes(tensor_.dtype));
  }
  void NextRow() {
    at_ = nullptr;
    if (row_ >= last_row_) return;
    ++row_;
    at_ = tensor_.Row(b_, row_ / heads_, first_head_ + row_ % heads_);
    end_ = at_ + row_bytes_;
  }

  const TensorView& tensor_;
  const int64_t b_, first_head_;
  int64_t heads_, row_bytes_;
  int64_t row_ = 0, last_row_ = 0;  // key x heads + head
  const std::byte *at_ = nullptr, *end_ = nullptr;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_ROWS_AHEAD_H_
