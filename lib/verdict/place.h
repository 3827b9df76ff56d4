// Where the wrong elements of an output are, when they are somewhere.
#ifndef BITANCHOR_LIB_VERDICT_PLACE_H_
#define BITANCHOR_LIB_VERDICT_PLACE_H_

#include <string>
#include <vector>

#include "lib/problem/mask.h"
#include "lib/verdict/census.h"

namespace bitanchor {

// Whose tokens the rows of an output are: queries (o, lse, dq, q_rope, delta) or keys (dk, dv,
// k_rope).
enum class Side { kQueries, kKeys };

// What almost all (98%) wrong elements of the census have in common and right ones mostly have not,
// as a sentence: "all 640 wrong elements are in heads 0, 8, 16 (every 8th); documents 2..4; within
// 64 tokens of a document's start". Looked at: batch, head, token, query block, lane of a row (d),
// document and distance from its start. "" where nothing is wrong, where only a handful of rows
// were judged, or where the wrong elements are everywhere.
std::string Signature(const Census& census, const Mask& mask, Side side);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_PLACE_H_
