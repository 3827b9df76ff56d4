#include "tools/contract_option.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <vector>

#include "lib/file/contract_file.h"
#include "lib/file/printable.h"
#include "lib/matrix_unit/error_bound.h"
#include "lib/tensor/error.h"

namespace bitanchor::tools {
namespace {

Contract NamedContract(const std::string& name) {
  if (name.ends_with(".json")) return ReadContract(name, OnUnit);
  const size_t slash = name.find('/');
  const Contract* const contract = FindContract(name.substr(0, slash));
  if (contract != nullptr && slash == name.npos) return *contract;
  if (contract != nullptr) return OnUnit(*contract, name.substr(slash + 1));
  if (slash != name.npos) return ReadContract(name, OnUnit);
  std::string names;
  for (const Contract& c : Contracts()) names += c.name + ", ";
  throw InputError("--contract", Quoted(name),
                   "one of " + names + "one on a unit (tensor-core-bf16/hopper) or a FILE.json");
}

}  // namespace

Contract ContractOption(const std::string& name, DType dtype) {
  if (name.empty()) return DefaultContract(dtype);
  Contract contract = NamedContract(name);
  if (contract.dtype != dtype) {
    throw InputError("--contract",
                     fmt::format("{}, which is for {}", contract.name, DTypeName(contract.dtype)),
                     fmt::format("a contract for {}, q's dtype", DTypeName(dtype)));
  }
  return contract;
}

Contract OnUnit(const Contract& contract, const std::string& unit) {
  if (contract.unit.products == 0) {
    throw InputError("unit", Quoted(unit),
                     "none: " + contract.name + " has no matrix unit, tensor-core has");
  }
  const auto terms = matrix_unit::ErrorTermsOf(unit, contract.dtype);
  if (terms.products == 0) {
    std::vector<std::string_view> units;
    for (const std::string_view one : matrix_unit::Units()) {
      if (matrix_unit::FindModel(one, contract.dtype) != nullptr) units.push_back(one);
    }
    throw InputError(
        "unit", Quoted(unit),
        fmt::format("one that takes {}: {}", DTypeName(contract.dtype), fmt::join(units, ", ")));
  }
  return contract.On(
      {terms.products, terms.fraction_bits, terms.rounding, terms.product, terms.flush},
      terms.absolute, unit);
}

}  // namespace bitanchor::tools
