// Which mistake of the table gives wrong answers as a whole: kernels whose own intervals hold what
// was captured.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_INTERVALS_H_
#define BITANCHOR_TOOLS_DIAGNOSE_INTERVALS_H_

#include <vector>

#include "lib/exact/mistaken_attention.h"
#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/verdict/verdict.h"
#include "tools/attention_start.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// Rows of o and lse.
struct RowsToTry {
  std::vector<exact::RowPlace> wrong;  // all that are
  std::vector<exact::RowPlace> first;  // a few of those
  std::vector<exact::RowPlace> all;    // more of them, and others that would show a mistake
};
RowsToTry RowsToTryOf(const Verdict& verdict, const AttentionProblem& problem);

// Mistakes of the forward pass after RoPE, of RoPE where the capture does not hold what it made,
// and of the capture. Not those of roundings alone. None where no row is wrong.
std::vector<Finding> ExplainByIntervals(const Capture& capture, const Contract& contract,
                                        const AttentionStart& start, const RowsToTry& rows);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_INTERVALS_H_
