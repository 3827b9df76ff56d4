// A user's own contract: `check --contract FILE.json`.
#ifndef BITANCHOR_LIB_FILE_CONTRACT_FILE_H_
#define BITANCHOR_LIB_FILE_CONTRACT_FILE_H_

#include <functional>
#include <string>
#include <string_view>

#include "lib/recipe/contract.h"

namespace bitanchor {

// What `unit` in a contract means: `contract` for kernels on that unit alone. Throws InputError for
// a unit that there is not.
using UnitByName = std::function<Contract(const Contract& contract, const std::string& unit)>;

// One strict JSON object. `name` is required, and no contract of the program may have it. `base`
// names one of those, from which all is taken that the object does not say; without it, every
// number must be there, and dtype ("BF16", "F16", "F32"). The numbers have Contract's names, and
// mean what lib/recipe/contract.h says; the unit's are `unit_products` and `unit_fraction_bits`.
// `unit`, a matrix unit's name, stands for both and for what else that unit does; only where
// unit_of is given. `normalise_first` is a boolean; `says` and `source` are free text.
//   {"name": "mine", "base": "tensor-core-bf16", "unit_products": 16, "unit_fraction_bits": 25}
//   {"name": "mine", "base": "tensor-core-bf16", "unit": "hopper"}
// Throws InputError naming the key, or else `document`, for all that is not so: unknown or repeated
// keys, other types, numbers out of range, numbers that do not fit together.
Contract ParseContract(std::string_view text, const std::string& document,
                       const UnitByName& unit_of = nullptr);

// Of a file; throws for one that cannot be read, too.
Contract ReadContract(const std::string& path, const UnitByName& unit_of = nullptr);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CONTRACT_FILE_H_
