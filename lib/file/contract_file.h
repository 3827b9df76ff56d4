// A user's own contract: `check --contract FILE.json`.
#ifndef BITANCHOR_LIB_FILE_CONTRACT_FILE_H_
#define BITANCHOR_LIB_FILE_CONTRACT_FILE_H_

#include <string>
#include <string_view>

#include "lib/recipe/contract.h"

namespace bitanchor {

// One strict JSON object. `name` is required, and no contract of the program may have it. `base`
// names one of those, from which all is taken that the object does not say; without it, every
// number must be there, and dtype ("BF16", "F16", "F32"). The numbers have Contract's names, and
// mean what lib/recipe/contract.h says; the unit's are `unit_products` and `unit_fraction_bits`.
// `normalise_first` is a boolean; `says` and `source` are free text.
//   {"name": "mine", "base": "tensor-core-bf16", "unit_products": 16, "unit_fraction_bits": 25}
// Throws InputError naming the key, or else `document`, for all that is not so: unknown or repeated
// keys, other types, numbers out of range, numbers that do not fit together.
Contract ParseContract(std::string_view text, const std::string& document);

// Of a file; throws for one that cannot be read, too.
Contract ReadContract(const std::string& path);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CONTRACT_FILE_H_
