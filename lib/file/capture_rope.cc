// The rope object of a capture's metadata, as found in Hugging Face configs of several ages.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <initializer_list>
#include <nlohmann/json.hpp>

#include "lib/file/capture_metadata.h"
#include "lib/file/json_fields.h"
#include "lib/file/strict_json.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using nlohmann::json;
using Names = std::vector<std::string_view>;

// Fields that a model's config has; they may stand flat or nested. GPT-NeoX has rotary_pct and
// rotary_emb_base, GPT-J rotary_dim.
const Names kModelFields = {"rope_type",
                            "rotary_dim",
                            "rotary_pct",
                            "rotary_emb_base",
                            "type",
                            "rope_theta",
                            "partial_rotary_factor",
                            "factor",
                            "low_freq_factor",
                            "high_freq_factor",
                            "original_max_position_embeddings",
                            "max_position_embeddings",
                            "attention_factor",
                            "mscale",
                            "mscale_all_dim",
                            "truncate",
                            "beta_fast",
                            "beta_slow",
                            "short_factor",
                            "long_factor"};
const Names kNests = {"rope_parameters", "rope_scaling"};

// What a rope type computes with besides theta and the rotary dimension.
struct TypeRow {
  RopeType type;
  Names required, optional;
};
const TypeRow kTypes[] = {
    {RopeType::kDefault, {}, {}},
    {RopeType::kLinear, {"factor"}, {}},
    {RopeType::kDynamic, {"factor", "max_position_embeddings"}, {}},
    {RopeType::kYarn,
     {"original_max_position_embeddings"},
     {"factor", "attention_factor", "mscale", "mscale_all_dim", "truncate", "beta_fast",
      "beta_slow"}},
    {RopeType::kLongrope,
     {"short_factor", "long_factor", "original_max_position_embeddings"},
     {"factor", "attention_factor"}},
    {RopeType::kLlama3,
     {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
     {}}};

// Numbers that change what some rope type computes. Given to a type that does not use them, they
// say that the config means something else than it gets.
const Names kScalingFields = {"factor",           "low_freq_factor", "high_freq_factor",
                              "attention_factor", "mscale",          "mscale_all_dim",
                              "truncate",         "beta_fast",       "beta_slow",
                              "short_factor",     "long_factor"};

Names Joined(Names names, const Names& more) {
  names.insert(names.end(), more.begin(), more.end());
  return names;
}

// A model's whole config.json, of which only RoPE's fields matter. Models of several modalities
// keep those of the language model in text_config.
class ModelConfig {
 public:
  ModelConfig(const json& config, std::string path, int64_t head_dim,
              const std::optional<std::string>& layer_type)
      : path_(std::move(path)) {
    if (!config.is_object()) throw InputError(path_, Describe(config), "an object");
    const json* text = &config;
    if (const auto nested = config.find("text_config"); nested != config.end()) {
      if (nested->is_object()) {
        text = &*nested;
        path_ += ".text_config";
      }
    }
    CheckHeadDim(*text, head_dim);
    for (const auto& [key, value] : text->items()) {
      const bool known = std::ranges::find(kModelFields, key) != kModelFields.end() ||
                         std::ranges::find(kNests, key) != kNests.end();
      if (known && !value.is_null()) fields_[key] = value;  // null: not set
    }
    TakeLocalBase(*text, layer_type);
  }

  const json& fields() const { return fields_; }
  const std::string& path() const { return path_; }

 private:
  // Gemma 3 before transformers 5: sliding layers have a base of their own and no scaling.
  void TakeLocalBase(const json& config, const std::optional<std::string>& layer_type) {
    const auto base = config.find("rope_local_base_freq");
    if (base == config.end() || base->is_null()) return;
    if (!layer_type) {
      throw InputError("rope.layer_type", "no value",
                       "one of full_attention, sliding_attention, as " + path_ +
                           ".rope_local_base_freq is there");
    }
    if (*layer_type == "sliding_attention") fields_ = {{"rope_theta", *base}};
  }

  // The config is another model's where its heads have another size.
  void CheckHeadDim(const json& config, int64_t head_dim) const {
    const auto integer = [&](const char* name) -> std::optional<int64_t> {
      const auto found = config.find(name);
      if (found == config.end() || !found->is_number_integer()) return std::nullopt;
      return found->get<int64_t>();
    };
    std::optional<int64_t> size = integer("head_dim");
    const auto hidden = integer("hidden_size"), heads = integer("num_attention_heads");
    if (!size && hidden && heads && *heads > 0) size = *hidden / *heads;
    if (config.contains("qk_rope_head_dim") || !size || *size == head_dim) return;
    throw InputError(path_ + ".head_dim", std::to_string(*size),
                     fmt::format("{}, as q has", head_dim));
  }

  std::string path_;
  json fields_ = json::object();
};

// The same field in several places, as real configs have it, is one field if all say the same.
class ConfigFields {
 public:
  ConfigFields(const json& rope, int64_t head_dim)
      : places_{JsonFields(
            rope, "rope",
            Joined(Joined(kModelFields, kNests), {"recipe", "pairing", "config", "layer_type"}))} {
    layer_type_ = flat().String("layer_type");
    AddNests(JsonFields(places_[0]));
    if (const json* const config = flat().Find("config")) {
      model_.emplace(*config, flat().Path("config"), head_dim, layer_type_);
      const JsonFields place(model_->fields(), model_->path(), Joined(kModelFields, kNests));
      places_.push_back(place);
      AddNests(place);
    }
  }
  ConfigFields(const ConfigFields&) = delete;  // places_ point into model_

  const JsonFields& flat() const { return places_[0]; }

  template <typename T>
  struct Found {
    T value;
    std::string path;
  };

  // The value of a field that goes by any of `names`; nullopt: absent everywhere.
  template <typename T>
  std::optional<Found<T>> Get(std::optional<T> (JsonFields::*read)(std::string_view) const,
                              std::initializer_list<std::string_view> names) const {
    std::optional<Found<T>> found;
    for (const JsonFields& place : places_) {
      for (const std::string_view name : names) {
        const std::optional<T> value = (place.*read)(name);
        if (!value) continue;
        if (!found) {
          found = {*value, place.Path(name)};
        } else if (*value != found->value) {
          throw InputError(
              place.Path(name), Describe(*place.Find(name)),
              fmt::format("{}, as {} says", Describe(json(found->value)), found->path));
        }
      }
    }
    return found;
  }

  bool Has(std::string_view name) const {
    return std::ranges::any_of(
        places_, [&](const JsonFields& place) { return place.Find(name) != nullptr; });
  }

  void RefuseUnusedBy(const TypeRow& row) const {
    for (const std::string_view name : kScalingFields) {
      if (std::ranges::find(row.required, name) != row.required.end()) continue;
      if (std::ranges::find(row.optional, name) != row.optional.end()) continue;
      for (const JsonFields& place : places_) {
        const json* const value = place.Find(name);
        if (value == nullptr) continue;
        throw InputError(place.Path(name), Describe(*value),
                         fmt::format("no such field with rope_type {}", Name(row.type)));
      }
    }
  }

 private:
  void AddNests(const JsonFields& outer) {
    for (const std::string_view nest : kNests) {
      const json* nested = outer.Find(nest);
      if (nested == nullptr || nested->is_null()) continue;  // configs spell "none" as null
      std::string path = outer.Path(nest);
      if (IsPerLayerType(*nested)) {
        const auto mine = layer_type_ ? nested->find(*layer_type_) : nested->end();
        if (mine == nested->end()) {
          Names types;
          for (const auto& [type, unused] : nested->items()) types.push_back(type);
          throw InputError("rope.layer_type",
                           layer_type_ ? Describe(json(*layer_type_)) : "no value",
                           fmt::format("one of {}, as in {}", fmt::join(types, ", "), path));
        }
        nested = &*mine;
        path += "." + *layer_type_;
      }
      places_.emplace_back(*nested, path, kModelFields);
    }
  }

  // Parameters for each type of layer, as in {"full_attention": {...}, "sliding_attention": {...}}.
  static bool IsPerLayerType(const json& nested) {
    return nested.is_object() && !nested.empty() &&
           std::ranges::all_of(nested, [](const json& value) { return value.is_object(); });
  }

  std::optional<ModelConfig> model_;
  std::optional<std::string> layer_type_;
  std::vector<JsonFields> places_;
};

const TypeRow& ReadType(const ConfigFields& fields, const RopeRecipe& recipe,
                        std::vector<std::string>& defaults) {
  const auto found = fields.Get(&JsonFields::String, {"rope_type", "type"});
  if (!found) {
    defaults.push_back(DefaultTaken("rope.rope_type", Name(RopeType::kDefault)));
    return kTypes[0];
  }
  Names names;
  for (const TypeRow& row : kTypes) {
    if (!TakesRopeType(recipe, row.type)) continue;
    if (Name(row.type) == found->value) return row;
    names.push_back(Name(row.type));
  }
  const bool any = names.size() == std::size(kTypes);
  throw InputError(found->path, Describe(json(found->value)),
                   any ? fmt::format("one of {}", fmt::join(names, ", "))
                       : fmt::format("{} with recipe {}", fmt::join(names, ", "), recipe.name));
}

// A length in tokens, which must make sense even where the type does not use it.
std::optional<int64_t> ReadTokens(const ConfigFields& fields, std::string_view name) {
  const auto found = fields.Get(&JsonFields::Integer, {name});
  if (!found) return std::nullopt;
  if (found->value < 1) throw InputError(found->path, std::to_string(found->value), ">= 1");
  return found->value;
}

void ReadScaling(const ConfigFields& fields, const TypeRow& row, RopeConfig& config) {
  fields.RefuseUnusedBy(row);
  for (const std::string_view name : row.required) {
    if (fields.Has(name)) continue;
    throw InputError(fmt::format("rope.{}", name), "no value",
                     fmt::format("one, as rope_type {} needs it", Name(row.type)));
  }
  const auto read_number = [&](std::string_view name, double& number) {
    if (const auto found = fields.Get(&JsonFields::Number, {name})) number = found->value;
  };
  read_number("factor", config.factor);
  read_number("low_freq_factor", config.low_freq_factor);
  read_number("high_freq_factor", config.high_freq_factor);
  // Hugging Face takes these where they are 0 as if they were absent, by Python's `or`.
  const auto read_nonzero = [&](std::string_view name, double& number) {
    const auto found = fields.Get(&JsonFields::Number, {name});
    if (found && found->value != 0) number = found->value;
  };
  read_nonzero("beta_fast", config.beta_fast);
  read_nonzero("beta_slow", config.beta_slow);
  read_nonzero("mscale", config.mscale);
  read_nonzero("mscale_all_dim", config.mscale_all_dim);
  if (const auto found = fields.Get(&JsonFields::Bool, {"truncate"})) {
    config.truncate = found->value;
  }
  if (const auto found = fields.Get(&JsonFields::Number, {"attention_factor"})) {
    config.attention_factor = found->value;
  }
  const auto read_numbers = [&](std::string_view name, std::vector<double>& numbers) {
    if (const auto found = fields.Get(&JsonFields::Numbers, {name})) numbers = found->value;
  };
  read_numbers("short_factor", config.short_factor);
  read_numbers("long_factor", config.long_factor);
  const auto original_length = ReadTokens(fields, "original_max_position_embeddings");
  if (original_length) config.original_max_position_embeddings = *original_length;
  const auto length = ReadTokens(fields, "max_position_embeddings");
  if (length) config.max_position_embeddings = *length;
  const bool may_lack_factor = row.type == RopeType::kYarn || row.type == RopeType::kLongrope;
  if (!may_lack_factor || fields.Has("factor")) return;
  // As Hugging Face takes it where it is absent.
  if (length) {
    config.factor =
        static_cast<double>(*length) / static_cast<double>(config.original_max_position_embeddings);
  } else if (row.type == RopeType::kYarn) {
    throw InputError("rope.factor", "no value",
                     "one, or max_position_embeddings, with rope_type yarn");
  } else if (!config.attention_factor) {
    throw InputError(
        "rope.factor", "no value",
        "one, or attention_factor or max_position_embeddings, with rope_type longrope");
  }
}

int64_t ReadRotaryDim(const ConfigFields& fields, int64_t head_dim,
                      std::vector<std::string>& defaults) {
  const auto given = fields.Get(&JsonFields::Integer, {"rotary_dim"});
  const auto partial = fields.Get(&JsonFields::Number, {"partial_rotary_factor", "rotary_pct"});
  if (!partial) {
    if (given) return given->value;
    defaults.push_back(
        DefaultTaken("rope.rotary_dim", std::to_string(head_dim), "default, the head dimension"));
    return head_dim;
  }
  const double share = partial->value;
  if (!(share > 0 && share <= 1)) {
    throw InputError(partial->path, Describe(json(share)), "a number in (0, 1]");
  }
  // int(head_dim * partial_rotary_factor), as Hugging Face has it.
  const int64_t rotary_dim = static_cast<int64_t>(static_cast<double>(head_dim) * share);
  if (rotary_dim < 2 || rotary_dim % 2 != 0) {
    throw InputError(partial->path, fmt::format("{}, that is {} dimensions", share, rotary_dim),
                     fmt::format("an even number of the {} dimensions, 2 or more", head_dim));
  }
  if (given && given->value != rotary_dim) {
    throw InputError(given->path, std::to_string(given->value),
                     fmt::format("{}, as {} says", rotary_dim, partial->path));
  }
  return rotary_dim;
}

const RopeRecipe& ReadRecipe(const ConfigFields& fields) {
  const std::optional<std::string> name = fields.flat().String("recipe");
  const RopeRecipe* const recipe = name ? FindRopeRecipe(*name) : nullptr;
  if (recipe != nullptr) return *recipe;
  throw InputError("rope.recipe", name ? Describe(json(*name)) : "no value",
                   fmt::format("one of {}", fmt::join(RopeRecipeNames(), ", ")));
}

RopePairing ReadPairing(const ConfigFields& fields, const RopeRecipe& recipe,
                        std::vector<std::string>& defaults) {
  const std::optional<std::string> name = fields.flat().String("pairing");
  if (!name) {
    defaults.push_back(DefaultTaken("rope.pairing", Name(recipe.pairing),
                                    fmt::format("default, that of {}", recipe.name)));
    return recipe.pairing;
  }
  for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
    if (Name(pairing) == *name) return pairing;
  }
  throw InputError("rope.pairing", Describe(json(*name)), "half or interleaved");
}

}  // namespace

RopeConfig ReadRopeConfig(const json& rope, int64_t head_dim, std::vector<std::string>& defaults) {
  const ConfigFields fields(rope, head_dim);
  const RopeRecipe& recipe = ReadRecipe(fields);
  const TypeRow& row = ReadType(fields, recipe, defaults);
  RopeConfig config;
  config.recipe = recipe.name;
  config.type = row.type;
  if (const auto theta = fields.Get(&JsonFields::Number, {"rope_theta", "rotary_emb_base"})) {
    config.rope_theta = theta->value;
  } else {
    defaults.push_back(DefaultTaken("rope.rope_theta", fmt::format("{}", config.rope_theta)));
  }
  config.rotary_dim = ReadRotaryDim(fields, head_dim, defaults);
  config.pairing = ReadPairing(fields, recipe, defaults);
  ReadScaling(fields, row, config);
  return config;
}

}  // namespace bitanchor
