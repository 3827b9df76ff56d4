// Which rounding or missing rescale explains an answer. Intervals admit every right schedule, so
// wide that most of such mistakes hide in them; here the kernel is run as online softmax would,
// over tiles of every usual size in either order, and what it would store is compared with what was
// captured.
#ifndef BITANCHOR_TOOLS_DIAGNOSE_SCHEDULE_H_
#define BITANCHOR_TOOLS_DIAGNOSE_SCHEDULE_H_

#include <vector>

#include "lib/exact/mistaken_attention.h"
#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "simd/options.h"
#include "tools/attention_start.h"
#include "tools/finding.h"

namespace bitanchor::tools {

// Of what is captured, what failed.
struct FailedOutputs {
  bool o = false, lse = false;
};

// A finding explains the part of the squared error that is gone when its kernel takes the place of
// the right ones, of which the closest counts: of o in units of u m_d, of LSE relative to its size.
// `rows`: where to look, the first ones first; `others`: further kernels whose mistakes are
// roundings alone.
std::vector<Finding> ExplainSchedule(const Capture& capture, const Contract& contract,
                                     const AttentionStart& start, const FailedOutputs& failed,
                                     const std::vector<exact::RowPlace>& rows,
                                     const std::vector<exact::MistakenAttention>& others);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DIAGNOSE_SCHEDULE_H_
