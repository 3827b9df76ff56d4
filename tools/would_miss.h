// What a way of judging would let through: faults put into the right answer of this very problem.
#ifndef BITANCHOR_TOOLS_WOULD_MISS_H_
#define BITANCHOR_TOOLS_WOULD_MISS_H_

#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "lib/verdict/rule.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"

namespace bitanchor::tools {

// For each mistake of lib/recipe/mistake.h that changes an answer of this problem: whether a kernel
// with it would be judged wrong, by the answers that the capture holds of q_rope, k_rope, o and
// lse. Where a mistake has variants (off by one either way), all must be caught. Judged on at most
// 128 rows: document starts and ends, block edges and a spread. Cost: less than judging the
// capture, unless that is small itself.
std::vector<WouldMiss> WouldMissByContract(const Capture& capture, const Contract& contract,
                                           const simd::EngineOptions& options);

// The same for each rule's verdict on o: on o alone, RoPE's mistakes too. What a rule says of
// averages is asked on as many rows that are a fair sample.
void AddWouldMissByRules(const Capture& capture, const std::vector<const Rule*>& rules,
                         const simd::EngineOptions& options, Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_WOULD_MISS_H_
