#include "tools/finding.h"

#include <cstdint>
#include <set>
#include <tuple>

#include "lib/recipe/mistake.h"

namespace bitanchor::tools {

using exact::RowPlace;

Cause CauseOf(const std::string& id, const std::string& where, double explains) {
  const Mistake& mistake = *FindMistake(id);
  std::string says(mistake.says);
  if (!where.empty()) says += ": " + where;
  return {id, explains, says, std::string(mistake.fix)};
}

const OutputVerdict* Find(const Verdict& verdict, std::string_view name) {
  for (const OutputVerdict& output : verdict.outputs) {
    if (output.name == name) return &output;
  }
  return nullptr;
}

std::vector<RowPlace> WrongRows(const Verdict& verdict) {
  std::set<std::tuple<int64_t, int64_t, int64_t>> wrong;
  for (const char* name : {"o", "lse"}) {
    const OutputVerdict* output = Find(verdict, name);
    if (output == nullptr) continue;
    for (const RowRecord& row : output->census.Rows()) {
      if (row.wrong > 0) wrong.insert({row.b, row.h, row.s});
    }
  }
  std::vector<RowPlace> rows;
  for (const auto& [b, h, i] : wrong) rows.push_back({b, h, i});
  return rows;
}

}  // namespace bitanchor::tools
