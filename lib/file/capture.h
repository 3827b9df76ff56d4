// A capture: one safetensors file with a problem and what a kernel answered.
#ifndef BITANCHOR_LIB_FILE_CAPTURE_H_
#define BITANCHOR_LIB_FILE_CAPTURE_H_

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "lib/file/safetensors.h"
#include "lib/problem/attention_problem.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {

std::string_view Name(Layout layout);  // "bshd", "bhsd", "thd"

enum class LseBase { kE, k2 };

// How the kernel states its LSE. Base 2: log2 of the same sum, the natural one times log2(e). Not
// scaled: in units of the raw scores q.k, the scaled one divided by softmax_scale.
struct LseSpec {
  LseBase base = LseBase::kE;
  bool scaled = true;
  // Of a row that sees no key. Any float, infinities and NaN included.
  float empty = -std::numeric_limits<float>::infinity();
};

// One number per query and head, F32 [B, Hq, Sq]; in layout thd [Hq, T], which is the same bytes.
struct RowsView {
  const std::byte* data = nullptr;  // null: absent
  int64_t B = 0, Hq = 0, Sq = 0;

  explicit operator bool() const { return data != nullptr; }
  float At(int64_t b, int64_t h, int64_t i) const {
    return LoadF32(DType::kF32, data + 4 * ((b * Hq + h) * Sq + i));
  }
};

// The views point into `file`; moving the capture leaves them valid.
struct Capture {
  SafetensorsFile file;
  AttentionProblem problem;  // validated; ids and positions filled in where they are needed
  Layout layout = Layout::kBSHD;
  std::string kernel;  // free text
  LseSpec lse_spec;

  // What the kernel answered; absent ones are null. Shapes as [B, S, H, D] whatever the layout.
  TensorView o;               // as q
  RowsView lse;               //
  TensorView q_rope, k_rope;  // as q and k, in q's dtype or F32; present only with problem.rope
  TensorView dout;            // the tensor `do`, as o: given, not answered
  TensorView dq, dk, dv;      // as q, k, v; present only with dout
  RowsView delta;             // sum_d do_d o_d of each query and head; likewise

  // Every default that was taken, in words: "mask.causal: true (default)".
  std::vector<std::string> defaults;

  // Whether there is anything to judge: o, lse, q_rope, k_rope, dq, dk, dv or delta.
  bool HasAnswer() const;
};

// Reads and validates. Throws InputError naming the tensor, the field of the metadata
// ("mask.window_keys") or the path, for everything that the format does not say: unknown tensors,
// fields and names, wrong dtypes, ranks and shapes, empty tensors, numbers out of range. A file
// with only a problem in it is a capture without answers.
Capture ReadCapture(const std::string& path);
Capture ReadCapture(SafetensorsFile file);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CAPTURE_H_
