// The lists that `bitanchor drift` takes. Each function throws InputError naming its option,
// also where something is asked for twice.
#ifndef BITANCHOR_TOOLS_DRIFT_LISTS_H_
#define BITANCHOR_TOOLS_DRIFT_LISTS_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/tensor/dtype.h"
#include "tools/drift_run.h"

namespace bitanchor::tools {

inline constexpr std::string_view kExact = "exact";  // the recipe that rounds nothing

// RoPE recipes and "exact"; "all" stands for all of them.
std::vector<std::string> ReadRecipes(const std::string& text);

// Empty: the input's.
std::vector<DType> ReadDTypes(const std::string& text, DType given);

// "0:16,17:16"; no position may leave 0..2^31-1.
std::vector<Shift> ReadShifts(const std::string& text, int64_t last_position);

// Ascending; empty: all `tokens`.
std::vector<int64_t> ReadLengths(const std::string& text, int64_t tokens);

// A whole number in 0..most.
int64_t ReadWhole(const std::string& option, std::string_view text, int64_t most);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_LISTS_H_
