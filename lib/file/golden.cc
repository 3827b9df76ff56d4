#include "lib/file/golden.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "lib/file/byte_order.h"
#include "lib/file/capture_metadata.h"
#include "lib/file/capture_writer.h"
#include "lib/file/json_fields.h"
#include "lib/file/printable.h"
#include "lib/file/sha256.h"
#include "lib/file/strict_json.h"
#include "lib/problem/generate.h"
#include "lib/recipe/attention_recipe.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using nlohmann::json;
using Json = nlohmann::ordered_json;
using Names = std::vector<std::string_view>;

constexpr size_t kMaxNameBytes = 64;

const Names kFields = {"version", "name",    "generator", "seed",   "documents", "reset_positions",
                       "do",      "recipe",  "dtype",     "shape",  "mask",      "softmax_scale",
                       "rope",    "tensors", "inputs",    "outputs"};
const Names kInputs = {"q",
                       "k",
                       "v",
                       "document_ids",
                       "q_document_ids",
                       "position_ids",
                       "q_position_ids",
                       "cos",
                       "sin",
                       "inv_freq",
                       "do"};
const Names kOutputs = {"o", "lse", "q_rope", "k_rope", "dq", "dk", "dv"};

Json DigestsJson(const std::vector<TensorDigest>& digests) {
  Json out = Json::object();
  for (const TensorDigest& tensor : digests) {
    out[tensor.name] = {
        {"dtype", DTypeName(tensor.dtype)}, {"shape", tensor.shape}, {"sha256", tensor.sha256}};
  }
  return out;
}

Json ShapeJson(const AttentionShape& shape) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = shape;
  return {{"B", B}, {"Sq", Sq}, {"Skv", Skv}, {"Hq", Hq}, {"Hkv", Hkv}, {"D", D}};
}

Json GoldenJson(const Golden& golden) {
  const ProblemSpec& problem = golden.problem;
  Json out;
  out["version"] = 1;
  out["name"] = golden.name;
  out["generator"] = golden.generator;
  if (golden.generator == kGen1Name) {
    out["seed"] = problem.seed;
    out["documents"] = problem.documents;
    out["reset_positions"] = problem.reset_positions;
  }
  out["do"] = problem.gradient;
  out["recipe"] = golden.recipe;
  out["dtype"] = DTypeName(problem.dtype);
  out["shape"] = ShapeJson(problem.shape);
  out["mask"] = MaskJson(problem.mask);
  out["softmax_scale"] = problem.softmax_scale;  // widened to f64, so that it reads back the same
  out["rope"] = problem.rope ? RopeJson(*problem.rope) : Json();
  out["tensors"] = golden.tensors;
  out["inputs"] = DigestsJson(golden.inputs);
  out["outputs"] = DigestsJson(golden.outputs);
  return out;
}

// `"key": value` for each of an object's members, one a line.
std::string Lines(const Json& object, const std::string& indent) {
  std::string lines;
  for (const auto& [key, value] : object.items()) {
    const bool table = key == "inputs" || key == "outputs";
    lines += fmt::format(
        "{}{}\"{}\": {}", lines.empty() ? "" : ",\n", indent, key,
        table ? "{\n" + Lines(value, indent + "  ") + "\n" + indent + "}" : value.dump());
  }
  return lines;
}

bool IsSha256(std::string_view text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  return text.size() == 64 && std::ranges::all_of(text, is_digit);
}

// A value, a digest in full.
std::string Show(const json& value) {
  if (!value.is_string()) return Describe(value);
  const std::string& text = value.get_ref<const std::string&>();
  return IsSha256(text) ? text : Quoted(text, kMaxNameBytes + 2);
}

// Where a field stands in the text, in which "outputs.o.sha256" comes after "seed".
size_t Rank(const std::string& field) {
  const auto index = [](const Names& names, std::string_view name) {
    return static_cast<size_t>(std::ranges::find(names, name) - names.begin());
  };
  const size_t dot = std::min(field.find('.'), field.size());
  const std::string top = field.substr(0, dot);
  const std::string rest = field.substr(std::min(dot + 1, field.size()));
  const std::string tensor = rest.substr(0, rest.find('.'));
  const size_t second = top == "inputs"    ? index(kInputs, tensor)
                        : top == "outputs" ? index(kOutputs, tensor)
                                           : 0;
  return index(kFields, top) * (kInputs.size() + 1) + second;
}

std::vector<GoldenDifference> Differences(const json& got, const json& want) {
  std::vector<GoldenDifference> differences;
  for (const json& step : json::diff(want, got)) {  // from want to got
    const std::string op = step["op"], path = step["path"];
    std::string field = path.substr(1);
    std::ranges::replace(field, '/', '.');
    differences.push_back({Printable(field), op == "remove" ? "none" : Show(step["value"]),
                           op == "add" ? "none" : Show(want.at(json::json_pointer(path)))});
  }
  std::stable_sort(differences.begin(), differences.end(),
                   [](const GoldenDifference& left, const GoldenDifference& right) {
                     return Rank(left.field) < Rank(right.field);
                   });
  return differences;
}

// ---- Reading ----

template <typename T>
T Required(std::optional<T> value, const JsonFields& fields, std::string_view key) {
  if (!value) throw InputError(fields.Path(key), "no value", "one");
  return *std::move(value);
}

std::string RequiredName(const JsonFields& fields, std::string_view key, const Names& names) {
  const std::string name = Required(fields.String(key), fields, key);
  if (std::ranges::find(names, name) != names.end()) return name;
  throw InputError(fields.Path(key), Quoted(name),
                   fmt::format("{}{}", names.size() > 1 ? "one of " : "", fmt::join(names, ", ")));
}

// Before anything else is looked at: another version may have other fields.
void CheckVersion(const json& document) {
  if (!document.is_object()) throw InputError("document", Describe(document), "an object");
  const auto version = document.find("version");
  const bool good = version != document.end() && version->is_number_integer() && *version == 1;
  if (good) return;
  throw InputError("version", version == document.end() ? "no value" : Describe(*version), "1");
}

DType ReadDType(const JsonFields& fields) {
  const std::string name = Required(fields.String("dtype"), fields, "dtype");
  const std::optional<DType> dtype = DTypeFromName(name);
  if (dtype && (IsFloat(*dtype) || *dtype == DType::kI64)) return *dtype;
  throw InputError(fields.Path("dtype"), Quoted(name), "one of BF16, F16, F32, I64");
}

AttentionShape ReadShape(const json& value) {
  const JsonFields fields(value, "shape", {"B", "Sq", "Skv", "Hq", "Hkv", "D"});
  const auto size = [&](std::string_view key) {
    return Required(fields.Integer(key), fields, key);
  };
  const AttentionShape shape = {size("B"),  size("Sq"),  size("Skv"),
                                size("Hq"), size("Hkv"), size("D")};
  CheckSizes(shape);
  return shape;
}

std::string ReadSha256(const JsonFields& fields) {
  const std::string text = Required(fields.String("sha256"), fields, "sha256");
  if (IsSha256(text)) return text;
  throw InputError(fields.Path("sha256"), Quoted(text, 70), "64 digits of 0-9 and a-f");
}

std::vector<TensorDigest> ReadDigests(const json& value, const std::string& path,
                                      const Names& names) {
  const JsonFields table(value, path, names);
  std::vector<TensorDigest> digests;
  for (const std::string_view name : names) {
    const json* const entry = table.Find(name);
    if (entry == nullptr) continue;
    const JsonFields fields(*entry, table.Path(name), {"dtype", "shape", "sha256"});
    digests.push_back({std::string(name), ReadDType(fields),
                       Required(fields.Integers("shape"), fields, "shape"), ReadSha256(fields)});
  }
  return digests;
}

// What the recipe answers to the problem, but for the digests.
std::vector<TensorDigest> OutputsOf(const ProblemSpec& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const std::vector<int64_t> as_q = {B, Sq, Hq, D}, as_k = {B, Skv, Hkv, D};
  std::vector<TensorDigest> outputs = {{"o", problem.dtype, as_q, ""},
                                       {"lse", DType::kF32, {B, Hq, Sq}, ""}};
  if (problem.rope) {
    outputs.push_back({"q_rope", problem.dtype, as_q, ""});
    outputs.push_back({"k_rope", problem.dtype, as_k, ""});
  }
  if (problem.gradient) {
    outputs.push_back({"dq", problem.dtype, as_q, ""});
    outputs.push_back({"dk", problem.dtype, as_k, ""});
    outputs.push_back({"dv", problem.dtype, as_k, ""});
  }
  return outputs;
}

void CheckOutputs(const Golden& golden) {
  std::vector<TensorDigest> outputs = golden.outputs;
  for (TensorDigest& tensor : outputs) tensor.sha256.clear();
  json got, want;
  got["outputs"] = DigestsJson(outputs);
  want["outputs"] = DigestsJson(OutputsOf(golden.problem));
  const auto differences = Differences(got, want);
  if (differences.empty()) return;
  const GoldenDifference& first = differences.front();
  throw InputError(first.field, first.got, first.want);
}

const json& RequiredValue(const JsonFields& fields, std::string_view key) {
  const json* const value = fields.Find(key);
  if (value == nullptr) throw InputError(fields.Path(key), "no value", "one");
  return *value;
}

ProblemSpec ReadProblem(const JsonFields& fields, bool drawn) {
  std::vector<std::string> defaults;  // none may be taken: ParseGolden compares with what was read
  ProblemSpec problem;
  problem.shape = ReadShape(RequiredValue(fields, "shape"));
  problem.dtype = *DTypeFromName(RequiredName(fields, "dtype", {"BF16", "F16", "F32"}));
  problem.mask = ReadMaskSpec(RequiredValue(fields, "mask"), defaults);
  problem.softmax_scale =
      RoundToF32(Required(fields.Number("softmax_scale"), fields, "softmax_scale"));
  const json& rope = RequiredValue(fields, "rope");
  if (!rope.is_null()) problem.rope = ReadRopeConfig(rope, problem.shape.D, defaults);
  problem.gradient = Required(fields.Bool("do"), fields, "do");
  if (!drawn) return problem;
  problem.seed = Required(fields.Unsigned("seed"), fields, "seed");
  problem.documents = Required(fields.Integers("documents"), fields, "documents");
  problem.reset_positions = Required(fields.Bool("reset_positions"), fields, "reset_positions");
  return problem;
}

}  // namespace

TensorDigest DigestOf(const OutTensor& tensor) {
  Sha256 sha256;
  if (kHostIsBigEndian) {
    std::vector<std::byte> little(tensor.bytes.begin(), tensor.bytes.end());
    ReverseElements(little, DTypeBytes(tensor.dtype));
    sha256.Update(little);
  } else {
    sha256.Update(tensor.bytes);
  }
  return {tensor.name, tensor.dtype, tensor.shape, sha256.Hex()};
}

bool IsGoldenName(std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  };
  return !name.empty() && name.size() <= kMaxNameBytes && std::ranges::all_of(name, allowed);
}

std::string GoldenText(const Golden& golden) {
  return "{\n" + Lines(GoldenJson(golden), "  ") + "\n}\n";
}

Golden ParseGolden(std::string_view text) {
  const json document = ParseStrictJson(text, "document");
  CheckVersion(document);
  const JsonFields fields(document, "", kFields);
  Golden golden;
  golden.name = Required(fields.String("name"), fields, "name");
  golden.generator = RequiredName(fields, "generator", {kGen1Name, kCaptureGenerator});
  Names recipes;
  for (const AttentionRecipe& recipe : AttentionRecipes()) recipes.push_back(recipe.name);
  golden.recipe = RequiredName(fields, "recipe", recipes);
  golden.problem = ReadProblem(fields, golden.generator == kGen1Name);
  golden.tensors = Required(fields.Bool("tensors"), fields, "tensors");
  golden.inputs = ReadDigests(RequiredValue(fields, "inputs"), "inputs", kInputs);
  golden.outputs = ReadDigests(RequiredValue(fields, "outputs"), "outputs", kOutputs);
  CheckOutputs(golden);
  // Whatever was left out, said twice or said otherwise than it is written shows here.
  const auto differences = Differences(document, json::parse(GoldenText(golden)));
  if (differences.empty()) return golden;
  const GoldenDifference& first = differences.front();
  throw InputError(first.field, first.got, first.want);
}

std::vector<GoldenDifference> Differences(const Golden& got, const Golden& want) {
  return Differences(json::parse(GoldenText(got)), json::parse(GoldenText(want)));
}

}  // namespace bitanchor
