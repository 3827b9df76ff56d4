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

// The census once more by one thing that rows or elements have.
struct Group {
  int64_t value, elements, wrong;
  double share;  // worst share of the bound; not kept by dimension, where it is 0
};
struct Breakdown {
  // "batch", "head", "query_block" or "key_block" (of 64 tokens), "document", "distance" (of a
  // token from its document's start: value n holds distances 2^(n-1) to 2^n - 1, and 0 the start
  // itself), "dimension"
  std::string by;
  std::vector<Group> groups;  // ascending by value
};

// All of them that apply, those of one group alone left out; at most kMostGroups of each, the
// worst.
inline constexpr size_t kMostGroups = 256;
std::vector<Breakdown> Breakdowns(const Census& census, const Mask& mask, Side side);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_VERDICT_PLACE_H_
