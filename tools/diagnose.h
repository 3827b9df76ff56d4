// Why an answer is wrong: every mistake of lib/recipe/mistake.h is tried on some rows.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_H_
#define BITANCHOR_TOOLS_DIAGNOSE_H_

#include <vector>

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"

namespace bitanchor::tools {

// verdict: of this capture by this contract; it fails. Best first, at least one: `unknown` where
// nothing explains the answer. The first stage that is out is what is explained: the rotation, else
// o and lse; of gradients the stage alone is named.
std::vector<Cause> Diagnose(const Capture& capture, const Contract& contract,
                            const Verdict& verdict, const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_H_
