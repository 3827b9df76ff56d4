// The capture's tensors, each checked against the shape that the others give it.
#ifndef BITANCHOR_LIB_FILE_CAPTURE_TENSORS_H_
#define BITANCHOR_LIB_FILE_CAPTURE_TENSORS_H_

#include <cstdint>
#include <string_view>
#include <vector>

#include "lib/file/capture.h"
#include "lib/file/safetensors.h"

namespace bitanchor {

// All of these throw InputError naming the tensor, what it is and what it should be.

// Only tensors that captures have, and none of them empty.
void CheckTensorNames(const SafetensorsFile& file);

// The tensor, or InputError.
const TensorEntry& Required(const SafetensorsFile& file, std::string_view name);

// BF16, F16 or F32 of four axes (three in layout thd), as [B, S, H, D].
TensorView ReadHeads(const TensorEntry& entry, Layout layout);

// The same where the shape is known; null where the file has no such tensor.
TensorView ReadAnswer(const SafetensorsFile& file, std::string_view name, Layout layout,
                      const Shape4& shape);

// One F32 number per query and head; null where the file has no such tensor.
RowsView ReadRows(const SafetensorsFile& file, std::string_view name, Layout layout,
                  const AttentionShape& shape);

// The RoPE tables that the file gives, widened to f32, into `rope`.
void ReadRopeTables(const SafetensorsFile& file, RopeConfig& rope);

// Document ids and positions into capture.problem, whose shape, mask.spec and rope are set; appends
// the defaults taken. Ids and positions that the problem does not need are checked all the same.
void ReadTokens(Capture& capture);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CAPTURE_TENSORS_H_
