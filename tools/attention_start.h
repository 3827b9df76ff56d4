// What attention starts from when o and lse of a capture are judged, and the intervals of single
// rows of them.
#ifndef BITANCHOR_TOOLS_ATTENTION_START_H_
#define BITANCHOR_TOOLS_ATTENTION_START_H_

#include <memory>
#include <vector>

#include "lib/exact/attention_mistakes.h"
#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "simd/options.h"
#include "tools/judge_rope.h"

namespace bitanchor::tools {

class AttentionStart {
 public:
  // q and k as `check` takes them: the kernel's own rotation where the capture holds it, else the
  // recipe's with its freedom. All must outlive this. No progress is shown.
  AttentionStart(const Capture& capture, const Contract& contract,
                 const simd::EngineOptions& options);

  const exact::RightAttention& attention() const { return attention_; }
  const IntervalProblem& problem() const { return *attention_; }
  const simd::EngineOptions& options() const { return options_; }

  // LSE natural and scaled, as NaturalLse makes of the kernel's.
  std::vector<IntervalBlock> Intervals(const std::vector<exact::RowPlace>& rows) const;

 private:
  const Capture& capture_;
  const Contract& contract_;
  simd::EngineOptions options_;
  RotatedInputs rotated_;
  exact::RightAttention attention_;
};

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_ATTENTION_START_H_
