// The contract that a user names: the program's own, one of those on a certain matrix unit, or a
// file's.
#ifndef BITANCHOR_TOOLS_CONTRACT_OPTION_H_
#define BITANCHOR_TOOLS_CONTRACT_OPTION_H_

#include <string>

#include "lib/recipe/contract.h"

namespace bitanchor::tools {

// "tensor-core-bf16"; "tensor-core-bf16/hopper", for kernels on that unit alone; or a file, whose
// name ends in .json or has a '/' in it. Empty: the default of q's dtype. Throws InputError for a
// name that none has, and for a contract of another dtype.
Contract ContractOption(const std::string& name, DType dtype);

// `contract` for kernels whose products the unit alone sums. Throws InputError, its field `unit`,
// where the unit is none or does not take the contract's dtype, or where no unit sums its products.
Contract OnUnit(const Contract& contract, const std::string& unit);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_CONTRACT_OPTION_H_
