// What `explain` finds, and what it starts from.
#ifndef BITANCHOR_TOOLS_FINDING_H_
#define BITANCHOR_TOOLS_FINDING_H_

#include <string>
#include <string_view>
#include <vector>

#include "lib/exact/mistaken_attention.h"
#include "lib/verdict/verdict.h"

namespace bitanchor::tools {

// Less than the first does not explain an answer; less than the second is not worth a word.
inline constexpr double kExplains = 0.9, kLeastShare = 0.5;

// How much of an answer a mistake accounts for.
struct Finding {
  std::string id, where;
  double explains;
  double needs = kExplains;  // of `explains`, to be an explanation
};
inline bool Explains(const Finding& finding) { return finding.explains >= finding.needs; }

// The mistake of the table, `where` added to what it says. id must be of the table.
Cause CauseOf(const std::string& id, const std::string& where, double explains);

// nullptr: not judged.
const OutputVerdict* Find(const Verdict& verdict, std::string_view name);

// Rows of o and lse with wrong elements, by batch, head and token.
std::vector<exact::RowPlace> WrongRows(const Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_FINDING_H_
