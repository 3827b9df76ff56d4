// Whether weights were dropped at random, as dropout drops them: some are 0, the others 1 / (1 - p)
// of what they should be, and LSE is right.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_DROPOUT_H_
#define BITANCHOR_TOOLS_DIAGNOSE_DROPOUT_H_

#include <optional>

#include "lib/file/capture.h"
#include "lib/verdict/verdict.h"
#include "tools/attention_start.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// Where rows see at most half as many keys as o has dimensions, their weights are solved for; where
// there are no such rows, the heaviest weights of longer ones, of a kernel whose captured LSE is
// right. The finding says how much of o in those rows weights account for that are dropped or kept.
// nullopt: the weights are not of two kinds, or too few are known to tell.
std::optional<Finding> DropoutFinding(const Capture& capture, const AttentionStart& start,
                                      const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_DROPOUT_H_
