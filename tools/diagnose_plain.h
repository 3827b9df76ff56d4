// Causes that need no hypothesis: what is wrong is plainly nothing that a kernel computes.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_PLAIN_H_
#define BITANCHOR_TOOLS_DIAGNOSE_PLAIN_H_

#include <vector>

#include "lib/file/capture.h"
#include "lib/verdict/verdict.h"
#include "tools/attention_start.h"

namespace bitanchor::tools {

// Zeros, NaN and Inf, and rows that see nothing; empty where the wrong elements of o and lse are
// numbers.
std::vector<Cause> PlainCauses(const Capture& capture, const AttentionStart& start,
                               const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_PLAIN_H_
