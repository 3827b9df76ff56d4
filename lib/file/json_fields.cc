#include "lib/file/json_fields.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "lib/file/printable.h"
#include "lib/file/strict_json.h"
#include "lib/tensor/error.h"

namespace bitanchor {

using nlohmann::json;

namespace {

// One that int64_t holds.
bool IsInteger(const json& value) {
  return value.is_number_integer() &&
         (!value.is_number_unsigned() || value.get<uint64_t>() <= INT64_MAX);
}

}  // namespace

JsonFields::JsonFields(const json& object, std::string path,
                       const std::vector<std::string_view>& known)
    : object_(object), path_(std::move(path)) {
  if (!object.is_object()) {
    throw InputError(path_.empty() ? "__metadata__.bitanchor" : path_, Describe(object),
                     "an object");
  }
  for (const auto& [key, unused] : object.items()) {
    if (std::ranges::find(known, key) != known.end()) continue;
    throw InputError(Path(Printable(key)), "a key of this name",
                     fmt::format("one of {}", fmt::join(known, ", ")));
  }
}

std::string JsonFields::Path(std::string_view key) const {
  return path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
}

const json* JsonFields::Find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() ? nullptr : &*found;
}

std::optional<bool> JsonFields::Bool(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) throw InputError(Path(key), Describe(*value), "true or false");
  return value->get<bool>();
}

std::optional<std::string> JsonFields::String(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) throw InputError(Path(key), Describe(*value), "a string");
  return value->get<std::string>();
}

std::optional<double> JsonFields::Number(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) throw InputError(Path(key), Describe(*value), "a number");
  return value->get<double>();
}

std::optional<int64_t> JsonFields::Integer(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!IsInteger(*value)) throw InputError(Path(key), Describe(*value), "an integer");
  return value->get<int64_t>();
}

std::optional<uint64_t> JsonFields::Unsigned(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number_unsigned()) {
    throw InputError(Path(key), Describe(*value), "an integer in 0..2^64-1");
  }
  return value->get<uint64_t>();
}

std::optional<std::vector<double>> JsonFields::Numbers(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  const auto is_number = [](const json& element) { return element.is_number(); };
  if (!value->is_array() || !std::ranges::all_of(*value, is_number)) {
    throw InputError(Path(key), Describe(*value), "an array of numbers");
  }
  return value->get<std::vector<double>>();
}

std::optional<std::vector<int64_t>> JsonFields::Integers(std::string_view key) const {
  const json* const value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_array() || !std::ranges::all_of(*value, IsInteger)) {
    throw InputError(Path(key), Describe(*value), "an array of integers");
  }
  return value->get<std::vector<int64_t>>();
}

}  // namespace bitanchor
