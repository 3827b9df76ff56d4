#include "lib/file/contract_file.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <vector>

#include "lib/file/json_fields.h"
#include "lib/file/mapped_file.h"
#include "lib/file/printable.h"
#include "lib/file/strict_json.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr double kMany = 0x1p40;

struct NumberField {
  std::string_view key;
  double Contract::*member;
  double least, most;
};
constexpr NumberField kNumbers[] = {
    {"operation", &Contract::operation, 0x1p-24, 0x1p-10},
    {"depth_base", &Contract::depth_base, 0, kMany},
    {"depth_keys", &Contract::depth_keys, 0x1p-10, kMany},
    {"row_sum_keys", &Contract::row_sum_keys, 0x1p-10, kMany},
    {"dot_dims", &Contract::dot_dims, 0x1p-10, kMany},
    {"exp_error", &Contract::exp_error, 0x1p-24, 0x1p-6},
    {"rescale_exp_error", &Contract::rescale_exp_error, 0, 0x1p-6},
    {"rescale_keys", &Contract::rescale_keys, 0, kMany},
    {"stale_log2", &Contract::stale_log2, 0, 100},
    {"log_error", &Contract::log_error, 0, 0x1p-6},
    {"score_rounding", &Contract::score_rounding, 0, 0x1p-4},
    {"score_absolute", &Contract::score_absolute, 0, 1},
    {"weight_rounding", &Contract::weight_rounding, 0, 0x1p-4},
    {"weight_absolute", &Contract::weight_absolute, 0, 1},
    {"flush", &Contract::flush, 0, 0x1p-126},
    {"libm_ulp", &Contract::libm_ulp, 0, 1024},
    {"bias_floor", &Contract::bias_floor, 0, kMany},
};

struct CountField {
  std::string_view key;
  int64_t Contract::*member;
  int64_t least;
};
constexpr CountField kCounts[] = {
    {"gradient_key_tile", &Contract::gradient_key_tile, 1},
    {"gradient_query_tile_least", &Contract::gradient_query_tile_least, 1},
    {"gradient_query_tile_most", &Contract::gradient_query_tile_most, 1},
    {"gradient_query_tiles", &Contract::gradient_query_tiles, 1},
};

std::vector<std::string_view> Keys() {
  std::vector<std::string_view> keys = {"name", "base", "says", "source", "dtype"};
  for (const NumberField& field : kNumbers) keys.push_back(field.key);
  keys.insert(keys.end(), {"normalise_first", "unit_products", "unit_fraction_bits", "unit"});
  for (const CountField& field : kCounts) keys.push_back(field.key);
  return keys;
}

class Reader {
 public:
  Reader(const nlohmann::json& object, const std::string& document)
      : fields_(CheckedObject(object, document), "", Keys()) {}

  Contract Read(const UnitByName& unit_of) {
    contract_.name = Name();
    if (const auto base = fields_.String("base")) {
      const Contract* const found = FindContract(*base);
      if (found == nullptr) throw InputError("base", Quoted(*base), "a contract's name");
      const std::string name = contract_.name;
      contract_ = *found;
      contract_.name = name;
      contract_.says += ", but for what the file says";
      has_base_ = true;
    }
    contract_.says = fields_.String("says").value_or(contract_.says);
    contract_.source = fields_.String("source").value_or(contract_.source);
    ReadDType();
    for (const NumberField& field : kNumbers) {
      contract_.*field.member = InRange(field.key, fields_.Number(field.key),
                                        contract_.*field.member, field.least, field.most);
    }
    for (const CountField& field : kCounts) {
      contract_.*field.member = Count(field.key, contract_.*field.member, field.least, 1 << 30);
    }
    contract_.normalise_first =
        OrBase("normalise_first", fields_.Bool("normalise_first"), contract_.normalise_first);
    ReadUnit(unit_of);
    CheckTogether();
    return contract_;
  }

 private:
  static const nlohmann::json& CheckedObject(const nlohmann::json& value,
                                             const std::string& document) {
    if (!value.is_object()) throw InputError(document, Describe(value), "an object");
    return value;
  }

  std::string Name() const {
    const std::string name = fields_.String("name").value_or("");
    if (name.empty()) throw InputError("name", "none", "a name for the contract");
    if (name.size() > 60 || Printable(name) != name) {
      throw InputError("name", Quoted(name), "at most 60 printable characters");
    }
    if (FindContract(name) != nullptr) {
      throw InputError("name", Quoted(name), "another than the program's own contracts have");
    }
    return name;
  }

  void ReadDType() {
    const auto name = fields_.String("dtype");
    if (!name) {
      OrBase("dtype", std::optional<int>(), 0);
      return;
    }
    const auto dtype = DTypeFromName(*name);
    if (!dtype || !IsFloat(*dtype)) throw InputError("dtype", Quoted(*name), "BF16, F16 or F32");
    contract_.dtype = *dtype;
  }

  void ReadUnit(const UnitByName& unit_of) {
    const auto unit = fields_.String("unit");
    if (!unit) {
      MatrixUnit& own = contract_.unit;
      own.products = Count("unit_products", own.products, 0, 1024);
      own.fraction_bits = Count("unit_fraction_bits", own.fraction_bits, 0, 64);
      if (own.products > 0 && own.fraction_bits == 0) {
        throw InputError("unit_fraction_bits", "0", "at least 1 where unit_products is not 0");
      }
      return;
    }
    for (const char* const number : {"unit_products", "unit_fraction_bits"}) {
      if (fields_.Integer(number)) throw InputError(number, "a number", "none beside unit");
    }
    if (!unit_of) throw InputError("unit", Quoted(*unit), "numbers instead: no units known here");
    const std::string name = contract_.name;
    contract_ = unit_of(contract_, *unit);
    contract_.name = name;
  }

  template <typename T>
  T OrBase(std::string_view key, std::optional<T> got, T base) const {
    if (!got && !has_base_) {
      throw InputError(std::string(key), "nothing", "a value, or a base to take it from");
    }
    return got.value_or(base);
  }

  template <typename T>
  T InRange(std::string_view key, std::optional<T> got, T base, T least, T most) const {
    const T value = OrBase(key, got, base);
    if (!(least <= value && value <= most)) {
      throw InputError(std::string(key), fmt::format("{}", value),
                       fmt::format("a number from {} to {}", least, most));
    }
    return value;
  }

  int64_t Count(std::string_view key, int64_t base, int64_t least, int64_t most) const {
    return InRange(key, fields_.Integer(key), base, least, most);
  }

  void CheckTogether() const {
    if (contract_.gradient_query_tile_most < contract_.gradient_query_tile_least) {
      throw InputError("gradient_query_tile_most",
                       std::to_string(contract_.gradient_query_tile_most),
                       "gradient_query_tile_least or more");
    }
    if (contract_.rescale_keys > 0 && contract_.rescale_exp_error < 0x1p-24) {
      throw InputError("rescale_exp_error", fmt::format("{}", contract_.rescale_exp_error),
                       "at least 2^-24 where rescale_keys is not 0: an f32 is rounded");
    }
    if (contract_.dtype == DType::kF16 && contract_.stale_log2 > 15) {
      throw InputError("stale_log2", fmt::format("{}", contract_.stale_log2),
                       "at most 15: weights beyond 2^15 leave f16's range");
    }
  }

  JsonFields fields_;
  Contract contract_;
  bool has_base_ = false;
};

}  // namespace

Contract ParseContract(std::string_view text, const std::string& document,
                       const UnitByName& unit_of) {
  const nlohmann::json object = ParseStrictJson(text, document);
  return Reader(object, document).Read(unit_of);
}

Contract ReadContract(const std::string& path, const UnitByName& unit_of) {
  const MappedFile file = MappedFile::Open(path);
  const auto bytes = file.bytes();
  return ParseContract({reinterpret_cast<const char*>(bytes.data()), bytes.size()},
                       PrintablePath(path), unit_of);
}

}  // namespace bitanchor
