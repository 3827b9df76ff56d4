// Judging by acceptance rules of other projects' tests.
#ifndef BITANCHOR_TOOLS_JUDGE_RULES_H_
#define BITANCHOR_TOOLS_JUDGE_RULES_H_

#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/verdict/rule.h"
#include "simd/options.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {

// "torch,ggml" as the option --rule has it. Throws InputError for a name that no rule has, for one
// that is there twice, and for none at all.
std::vector<const Rule*> RulesOption(const std::string& names);

// Each answer by each rule that says something about it, against the exact centre (rounded as the
// rule's own reference is), which starts from the capture's q_rope and k_rope where it has them,
// and a yardstick where the rule has one. What rules leave alone is listed as not judged.
Verdict JudgeByRules(const Capture& capture, const std::vector<const Rule*>& rules,
                     const SampleOptions& sample, const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_RULES_H_
