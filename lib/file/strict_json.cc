#include "lib/file/strict_json.h"

#include <fmt/format.h>

#include <map>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using nlohmann::json;

// Builds the value and refuses a second key. Throwing from an event ends the parse.
class Builder : public nlohmann::json_sax<json> {
 public:
  explicit Builder(std::string name) : name_(std::move(name)) {}

  json Take() { return std::move(root_); }

  bool null() override { return Add(json()); }
  bool boolean(bool value) override { return Add(value); }
  bool number_integer(number_integer_t value) override { return Add(value); }
  bool number_unsigned(number_unsigned_t value) override { return Add(value); }
  bool number_float(number_float_t value, const string_t&) override { return Add(value); }
  bool string(string_t& value) override { return Add(std::move(value)); }
  bool binary(binary_t& value) override { return Add(std::move(value)); }
  bool start_object(size_t) override { return Start(json::object()); }
  bool start_array(size_t) override { return Start(json::array()); }
  bool end_object() override { return End(); }
  bool end_array() override { return End(); }

  bool key(string_t& key) override {
    open_.back().key = key;
    auto& members = open_.back().value->get_ref<json::object_t&>();
    const auto [member, is_new] = members.try_emplace(key);
    if (!is_new) throw InputError(Path(), "the same key twice in one object", "it once");
    slot_ = &member->second;
    return true;
  }

  bool parse_error(size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override {
    // "[json.exception.parse_error.101] parse error at line 1, column 3: what is wrong"
    std::string_view what = error.what();
    if (const size_t colon = what.find(": "); colon != what.npos) what.remove_prefix(colon + 2);
    if (const size_t bracket = what.find("] "); bracket != what.npos && what[0] == '[') {
      what.remove_prefix(bracket + 2);
    }
    throw InputError(name_, fmt::format("at byte {}: {}", position, Printable(what, 160)),
                     "strict JSON");
  }

 private:
  struct Open {
    json* value;      // an object or an array; stays in place while it is open
    std::string key;  // of an object, the last one seen
  };

  // Where the next value goes.
  json& Slot() {
    if (open_.empty()) return root_;
    json& parent = *open_.back().value;
    if (parent.is_object()) return *slot_;
    parent.push_back(json());
    return parent.back();
  }

  bool Add(json value) {
    Slot() = std::move(value);
    return true;
  }

  bool Start(json value) {
    if (open_.size() == kMaxJsonDepth) {
      throw InputError(name_, fmt::format("nesting deeper than {} levels", kMaxJsonDepth),
                       "no deeper nesting");
    }
    json& slot = Slot();
    slot = std::move(value);
    open_.push_back({&slot, {}});
    return true;
  }

  bool End() {
    open_.pop_back();
    return true;
  }

  std::string Path() const {
    std::string path;
    for (const Open& open : open_) {
      if (open.value->is_object()) path += (path.empty() ? "" : ".") + open.key;
    }
    return path.empty() ? name_ : Printable(path, 120);
  }

  std::string name_;
  json root_;
  std::vector<Open> open_;
  json* slot_ = nullptr;  // in an object: the value of the key just read
};

}  // namespace

json ParseStrictJson(std::string_view text, const std::string& name) {
  // nlohmann's lexer takes a NUL byte for the end of the text, and skips a byte-order mark.
  if (const size_t at = text.find('\0'); at != text.npos) {
    throw InputError(name, fmt::format("a NUL byte at byte {}", at), "strict JSON");
  }
  if (text.substr(0, 3) == "\xef\xbb\xbf") {
    throw InputError(name, "a byte-order mark", "strict JSON");
  }
  Builder builder(name);
  json::sax_parse(text, &builder);
  return builder.Take();
}

std::string Describe(const json& value) {
  switch (value.type()) {
    case json::value_t::object:
      return "an object";
    case json::value_t::array:
      return "an array";
    case json::value_t::string:
      return Quoted(value.get_ref<const std::string&>());
    default:
      return value.dump();
  }
}

}  // namespace bitanchor
