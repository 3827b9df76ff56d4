// Problems on which a wrong kernel gives the right answer.
#ifndef BITANCHOR_LIB_PROBLEM_INDISTINCT_H_
#define BITANCHOR_LIB_PROBLEM_INDISTINCT_H_

#include <string>
#include <vector>

#include "lib/problem/attention_problem.h"

namespace bitanchor {

// Why the answer of attention cannot tell a right kernel from a wrong one here, each a line that
// says what to change; empty where it can.
//   all keys of every head have the same v   the weights, and so scale, mask and RoPE, do not
//   matter q or k is zero everywhere                all weights are equal: scale and RoPE do not
//   matter rule document or anchor, one document    whether documents see each other does not
//   matter
//                                            (under anchor: one beside the anchor tokens)
// Cost: reads q, k and v once, and of each only so much as it takes to find a difference.
std::vector<std::string> WhyIndistinct(const AttentionProblem& problem);

// The same of RoPE's own answers: q and k zero, or every position 0.
std::vector<std::string> WhyRopeIndistinct(const AttentionProblem& problem);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_INDISTINCT_H_
