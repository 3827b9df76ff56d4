// Whether keys that a query must not see have a finite score, and so a weight where scores are low.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_MASK_VALUE_H_
#define BITANCHOR_TOOLS_DIAGNOSE_MASK_VALUE_H_

#include <optional>

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/verdict/verdict.h"
#include "tools/attention_start.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// mask-not-infinite: every masked score is one number, taken from the captured LSE where there is
// one, else the most likely of those in use. nullopt: no such number fits a row.
std::optional<Finding> MaskValueFinding(const Capture& capture, const Contract& contract,
                                        const AttentionStart& start, const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_MASK_VALUE_H_
