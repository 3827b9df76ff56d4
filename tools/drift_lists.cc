#include "tools/drift_lists.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "lib/file/printable.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"
#include "tools/problem_options.h"

namespace bitanchor::tools {
namespace {

constexpr int64_t kMaxPosition = (int64_t{1} << 31) - 1;

std::vector<std::string> Split(const std::string& option, const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char c : text) {
    if (c == ',') {
      parts.emplace_back();
    } else {
      parts.back() += c;
    }
  }
  for (const std::string& part : parts) {
    if (part.empty()) throw InputError(option, Quoted(text), "names separated by commas");
  }
  return parts;
}

// Asked for twice, a row would stand there twice.
template <typename T>
void RefuseTwice(const std::string& option, const std::string& text, const std::vector<T>& list) {
  for (auto at = list.begin(); at != list.end(); ++at) {
    if (std::find(list.begin(), at, *at) == at) continue;
    throw InputError(option, Quoted(text), "each of them once");
  }
}

}  // namespace

std::vector<std::string> ReadRecipes(const std::string& text) {
  std::vector<std::string> names;
  for (const std::string& name : Split("--recipe", text)) {
    if (name == "all") {
      for (const RopeRecipe& recipe : RopeRecipes()) names.emplace_back(recipe.name);
      names.emplace_back(kExact);
    } else if (name == kExact || FindRopeRecipe(name) != nullptr) {
      names.push_back(name);
    } else {
      throw InputError("--recipe", Quoted(name),
                       "exact, all, or a RoPE recipe of `bitanchor info`");
    }
  }
  RefuseTwice("--recipe", text, names);
  return names;
}

std::vector<DType> ReadDTypes(const std::string& text, DType given) {
  if (text.empty()) return {given};
  std::vector<DType> dtypes;
  for (const std::string& name : Split("--dtype", text)) {
    if (name == "bf16") {
      dtypes.push_back(DType::kBF16);
    } else if (name == "f16") {
      dtypes.push_back(DType::kF16);
    } else if (name == "f32") {
      dtypes.push_back(DType::kF32);
    } else {
      throw InputError("--dtype", Quoted(name), "bf16, f16 or f32");
    }
  }
  RefuseTwice("--dtype", text, dtypes);
  return dtypes;
}

// A whole number in 0..most.
int64_t ReadWhole(const std::string& option, std::string_view text, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && value >= 0 && value <= most) {
    return value;
  }
  throw InputError(option, Quoted(text), fmt::format("a whole number in 0..{}", most));
}

std::vector<Shift> ReadShifts(const std::string& text, int64_t last_position) {
  std::vector<Shift> shifts;
  for (const std::string& part : Split("--shifts", text)) {
    const size_t colon = part.find(':');
    if (colon == std::string::npos) {
      throw InputError("--shifts", Quoted(part), "two numbers as in 0:16");
    }
    const std::string_view whole = part;
    const int64_t most = kMaxPosition - last_position;
    shifts.push_back({ReadWhole("--shifts", whole.substr(0, colon), most),
                      ReadWhole("--shifts", whole.substr(colon + 1), most)});
  }
  RefuseTwice("--shifts", text, shifts);
  return shifts;
}

std::vector<int64_t> ReadLengths(const std::string& text, int64_t tokens) {
  if (text.empty()) return {tokens};
  std::vector<int64_t> lengths = Numbers("--lengths", text);
  for (const int64_t length : lengths) {
    if (length <= tokens) continue;
    throw InputError("--lengths", std::to_string(length),
                     fmt::format("at most the {} tokens there are", tokens));
  }
  RefuseTwice("--lengths", text, lengths);
  std::sort(lengths.begin(), lengths.end());
  return lengths;
}

}  // namespace bitanchor::tools
