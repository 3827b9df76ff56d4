// Reading the fields of a JSON object, each with its path for errors.
#ifndef BITANCHOR_LIB_FILE_JSON_FIELDS_H_
#define BITANCHOR_LIB_FILE_JSON_FIELDS_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitanchor {

// All functions throw InputError naming the field's path where its type is another one. Nothing is
// converted: "1" is no number, 1.0 no integer, 1 no boolean, null no value of any type.
class JsonFields {
 public:
  // `path`: where the object stands, "" for the document. Keys outside `known` are refused.
  // `object` must outlive this.
  JsonFields(const nlohmann::json& object, std::string path,
             const std::vector<std::string_view>& known);

  std::string Path(std::string_view key) const;
  const nlohmann::json* Find(std::string_view key) const;  // nullptr: absent

  // nullopt: absent.
  std::optional<bool> Bool(std::string_view key) const;
  std::optional<std::string> String(std::string_view key) const;
  std::optional<double> Number(std::string_view key) const;
  std::optional<int64_t> Integer(std::string_view key) const;
  std::optional<uint64_t> Unsigned(std::string_view key) const;
  std::optional<std::vector<double>> Numbers(std::string_view key) const;    // an array of them
  std::optional<std::vector<int64_t>> Integers(std::string_view key) const;  // likewise

 private:
  const nlohmann::json& object_;
  std::string path_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_JSON_FIELDS_H_
