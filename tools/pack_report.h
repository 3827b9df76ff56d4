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

// The first case is the one that was asked for; the others are shown beside it.
std::string PackText(const PackCommand& command, const PackInput& input,
                     const std::vector<PackedCase>& cases);
std::string PackJson(const PackCommand& command, const PackInput& input,
                     const std::vector<PackedCase>& cases);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_PACK_REPORT_H_
