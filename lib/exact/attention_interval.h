// The exact centre of attention and a contract's interval around it, for every kind of row.
#ifndef BITANCHOR_LIB_EXACT_ATTENTION_INTERVAL_H_
#define BITANCHOR_LIB_EXACT_ATTENTION_INTERVAL_H_

#include "lib/recipe/interval.h"

namespace bitanchor::exact {

// Intervals of o and lse for queries [q0, q0 + nq) of head h of batch b; out is resized. Computed
// in f64, whose error is covered. Cost: about 6 D f64 operations per visible pair.
void AttentionIntervals(const IntervalProblem& problem, const Contract& contract, int64_t b,
                        int64_t h, int64_t q0, int64_t nq, IntervalBlock& out);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_ATTENTION_INTERVAL_H_
