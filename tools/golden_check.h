// One golden computed again and compared with what is kept of it.
#ifndef BITANCHOR_TOOLS_GOLDEN_CHECK_H_
#define BITANCHOR_TOOLS_GOLDEN_CHECK_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/file/golden.h"
#include "tools/compute.h"
#include "tools/golden.h"

namespace bitanchor::tools {

struct ElementBits {
  std::string bits, value;  // hexadecimal digits; decimal
};

struct ElementDifference {
  std::vector<int64_t> index;
  ElementBits got, want;
};

// A computed tensor against the stored one.
struct TensorDifference {
  std::string name;
  int64_t differing = 0, elements = 0;
  std::vector<ElementDifference> first;  // a few
};

struct Checked {
  Golden golden;
  // Of what was computed against the text; of the stored tensors against it ("stored outputs...").
  std::vector<GoldenDifference> differences;
  std::vector<TensorDifference> tensors;  // where they are stored, those that differ

  bool Ok() const { return differences.empty() && tensors.empty(); }
};

// `given`: the golden's problem, drawn or read. Throws InputError where stored tensors cannot be
// read.
Checked CheckGolden(const std::string& folder, const Golden& golden, const GivenProblem& given,
                    Engine engine, const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_GOLDEN_CHECK_H_
