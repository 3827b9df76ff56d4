// Which mistake of a rotation explains q_rope and k_rope.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_ROPE_H_
#define BITANCHOR_TOOLS_DIAGNOSE_ROPE_H_

#include <vector>

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// Every mistake, tried on the captured rotations at rows that `verdict` has found wrong and others.
std::vector<Finding> ExplainRotation(const Capture& capture, const Contract& contract,
                                     const Verdict& verdict, const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_ROPE_H_
