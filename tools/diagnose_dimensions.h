// Whether some dimensions of o are wrong in all rows alike, as lanes and fragments of a kernel are.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_DIMENSIONS_H_
#define BITANCHOR_TOOLS_DIAGNOSE_DIMENSIONS_H_

#include <optional>

#include "lib/file/capture.h"
#include "lib/verdict/verdict.h"
#include "tools/attention_start.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// dimensions-wrong: how much of the wrong elements of o and lse lies in those dimensions, and where
// they are off by one factor, which shows before most elements leave their intervals, how much it
// accounts for. output-scaled: all dimensions alike are off by one factor, or by one in each head,
// and LSE is right. nullopt: neither.
std::optional<Finding> DimensionFinding(const Capture& capture, const AttentionStart& start,
                                        const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_DIMENSIONS_H_
