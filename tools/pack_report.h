// What packings give, as a table and as JSON.
#ifndef BITANCHOR_TOOLS_PACK_REPORT_H_
#define BITANCHOR_TOOLS_PACK_REPORT_H_

#include <string>
#include <vector>

#include "lib/problem/packing_summary.h"
#include "tools/pack_options.h"

namespace bitanchor::tools {

struct PackedCase {
  Packing packing;
  PackingSummary summary;
};

struct PackResult {
  std::vector<PackedCase> cases;      // first the one that was asked for, beside it the others
  std::vector<std::string> left_out;  // of the others, each with its reason
};

std::string NameOf(const PackingOptions& options);
std::string PackText(const PackCommand& command, const PackInput& input, const PackResult& result);
std::string PackJson(const PackCommand& command, const PackInput& input, const PackResult& result);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_PACK_REPORT_H_
