// Causes that show in where wrong elements are and in what stands there, whatever computed it.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_PLACE_H_
#define BITANCHOR_TOOLS_DIAGNOSE_PLACE_H_

#include <vector>

#include "lib/file/capture.h"
#include "lib/verdict/verdict.h"
#include "tools/attention_start.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// elements-unwritten, sign-flipped and rows-copied: how much of the wrong elements of o and lse is
// zero, right once negated, or a right row of o that stands elsewhere. A head that holds another
// one's answers is copied rows, too: ask hypotheses about whole kernels first.
std::vector<Finding> PlaceFindings(const Capture& capture, const AttentionStart& start,
                                   const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_PLACE_H_
