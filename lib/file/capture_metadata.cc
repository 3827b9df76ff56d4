#include "lib/file/capture_metadata.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "lib/file/json_fields.h"
#include "lib/file/strict_json.h"
#include "lib/number/format.h"
#include "lib/problem/attention_problem.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using nlohmann::json;
using Strings = std::vector<std::string>;

// What the field says, or else the default, which is then noted.
template <typename T>
T OrDefault(std::optional<T> got, T value, const std::string& field, std::string_view text,
            Strings& defaults) {
  if (got) return *std::move(got);
  defaults.push_back(DefaultTaken(field, text));
  return value;
}

std::string_view Word(bool value) { return value ? "true" : "false"; }

// A field whose value is one of a few names.
template <typename T, size_t N>
T ReadName(const JsonFields& fields, std::string_view key, const std::array<T, N>& values,
           T value_if_absent, Strings& defaults) {
  const std::string path = fields.Path(key);
  const std::string name = OrDefault(fields.String(key), std::string(Name(value_if_absent)), path,
                                     Name(value_if_absent), defaults);
  std::string want = "one of";
  for (const T value : values) {
    if (Name(value) == name) return value;
    want += fmt::format("{} {}", value == values.front() ? "" : ",", Name(value));
  }
  throw InputError(path, Describe(json(name)), want);
}

void ReadVersion(const JsonFields& fields, Strings& defaults) {
  const int64_t version =
      OrDefault(fields.Integer("version"), int64_t{1}, "version", "1", defaults);
  if (version != 1) throw InputError("version", std::to_string(version), "1");
}

float ReadScale(const JsonFields& fields, int64_t head_dim, Strings& defaults) {
  const std::optional<double> given = fields.Number("softmax_scale");
  if (!given) {
    const float scale = DefaultSoftmaxScale(head_dim);
    defaults.push_back(DefaultTaken("softmax_scale", fmt::format("{}", scale),
                                    fmt::format("default, 1/sqrt({}) rounded to F32", head_dim)));
    return scale;
  }
  const float scale = RoundToF32(*given);
  if (std::isfinite(scale) && scale > 0) return scale;
  throw InputError("softmax_scale", Describe(*fields.Find("softmax_scale")),
                   "a number that is finite and > 0 as F32");
}

LseBase ReadLseBase(const JsonFields& fields, Strings& defaults) {
  const json* const base = fields.Find("base");
  if (base == nullptr) {
    defaults.push_back(DefaultTaken("lse.base", "e"));
    return LseBase::kE;
  }
  if (*base == "e") return LseBase::kE;
  if (*base == "2" || *base == 2) return LseBase::k2;
  throw InputError("lse.base", Describe(*base), "\"e\" or \"2\"");
}

float ReadLseEmpty(const JsonFields& fields, Strings& defaults) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const json* const empty = fields.Find("empty");
  if (empty == nullptr) {
    defaults.push_back(DefaultTaken("lse.empty", "-inf"));
    return -kInfinity;
  }
  if (*empty == "-inf") return -kInfinity;
  if (*empty == "+inf") return kInfinity;
  if (*empty == "nan") return std::numeric_limits<float>::quiet_NaN();
  if (empty->is_number()) {
    const float value = RoundToF32(empty->get<double>());
    if (std::isfinite(value)) return value;
  }
  throw InputError("lse.empty", Describe(*empty),
                   "\"-inf\", \"+inf\", \"nan\" or a number that is finite as F32");
}

LseSpec ReadLse(const json& value, Strings& defaults) {
  const JsonFields fields(value, "lse", {"base", "scaled", "empty"});
  LseSpec lse;
  lse.base = ReadLseBase(fields, defaults);
  lse.scaled =
      OrDefault(fields.Bool("scaled"), lse.scaled, "lse.scaled", Word(lse.scaled), defaults);
  lse.empty = ReadLseEmpty(fields, defaults);
  return lse;
}

}  // namespace

std::string_view Name(Layout layout) {
  switch (layout) {
    case Layout::kBSHD:
      return "bshd";
    case Layout::kBHSD:
      return "bhsd";
    case Layout::kTHD:
      return "thd";
  }
  return "";
}

std::string DefaultTaken(std::string_view field, std::string_view value, std::string_view why) {
  return fmt::format("{}: {} ({})", field, value, why);
}

MaskSpec ReadMaskSpec(const json& value, Strings& defaults) {
  const JsonFields fields(value, "mask", {"rule", "causal", "window_keys", "corner"});
  MaskSpec mask;
  mask.rule =
      ReadName(fields, "rule", std::array{MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor},
               mask.rule, defaults);
  mask.causal =
      OrDefault(fields.Bool("causal"), mask.causal, "mask.causal", Word(mask.causal), defaults);
  mask.corner = ReadName(fields, "corner", std::array{Corner::kTopLeft, Corner::kBottomRight},
                         mask.corner, defaults);
  const json* const window = fields.Find("window_keys");
  if (window == nullptr) {
    defaults.push_back(DefaultTaken("mask.window_keys", "null"));
  } else if (!window->is_null()) {
    mask.window_keys = fields.Integer("window_keys");
    if (*mask.window_keys < 1) {
      throw InputError("mask.window_keys", std::to_string(*mask.window_keys), "null or >= 1");
    }
  }
  return mask;
}

CaptureSpec ReadCaptureSpec(std::string_view text, int64_t head_dim) {
  const json document = ParseStrictJson(text, "__metadata__.bitanchor");
  const JsonFields fields(document, "",
                          {"version", "kernel", "layout", "mask", "softmax_scale", "rope", "lse"});
  const json nothing = json::object();
  const auto object = [&](std::string_view key) -> const json& {
    const json* const value = fields.Find(key);
    return value == nullptr ? nothing : *value;
  };
  CaptureSpec spec;
  ReadVersion(fields, spec.defaults);
  spec.kernel = fields.String("kernel").value_or("");
  spec.layout = ReadName(fields, "layout", std::array{Layout::kBSHD, Layout::kBHSD, Layout::kTHD},
                         spec.layout, spec.defaults);
  spec.mask = ReadMaskSpec(object("mask"), spec.defaults);
  spec.softmax_scale = ReadScale(fields, head_dim, spec.defaults);
  if (const json* const rope = fields.Find("rope")) {
    spec.rope = ReadRopeConfig(*rope, head_dim, spec.defaults);
  }
  spec.lse = ReadLse(object("lse"), spec.lse_defaults);
  return spec;
}

}  // namespace bitanchor
