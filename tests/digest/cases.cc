#include "tests/digest/cases.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "lib/file/byte_order.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor::digest {

void Results::Add(DType dtype, std::span<const std::byte> data) {
  const size_t size = DTypeBytes(dtype);
  assert(data.size() % size == 0);
  for (size_t at = 0; at < data.size(); at += size) {
    finite_ += !IsFloat(dtype) || std::isfinite(LoadF32(dtype, data.data() + at));
  }
  elements_ += static_cast<int64_t>(data.size() / size);
  if constexpr (kHostIsBigEndian) {
    std::vector<std::byte> little(data.begin(), data.end());
    ReverseElements(little, size);
    sha256_.Update(little);
  } else {
    sha256_.Update(data);
  }
}

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  AddNumberCases(cases);
  AddRopeCases(cases);
  AddAttentionCases(cases);
  AddMatrixUnitCases(cases);
  AddReplayCases(cases);
  return cases;
}

}  // namespace bitanchor::digest
