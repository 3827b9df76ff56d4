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

// Where rows see at most half as many keys as o has dimensions, their weights are solved for, and
// the finding says how much of o those rows' dropped weights account for. Where there are none, by
// the size of the errors of one head's rows, which have nothing in common between rows: this is
// said only of a kernel whose captured LSE is right. nullopt: not so.
std::optional<Finding> DropoutFinding(const Capture& capture, const AttentionStart& start,
                                      const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_DROPOUT_H_
