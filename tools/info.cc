// bitanchor info: what this build and this CPU can do.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/file/write_file.h"
#include "lib/matrix_unit/f64_chain.h"
#include "lib/matrix_unit/model.h"
#include "lib/recipe/attention_recipe.h"
#include "lib/recipe/contract.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/recipe/schedule.h"
#include "lib/verdict/rule.h"
#include "simd/targets.h"
#include "tools/commands.h"

namespace bitanchor::tools {
namespace {

using Json = nlohmann::ordered_json;

Json InfoJson() {
  Json targets = Json::array(), recipes = Json::array(), ropes = Json::array(),
       contracts = Json::array(), rules = Json::array(), units = Json::array();
  for (const simd::Target& target : simd::Targets()) targets.push_back({{"name", target.name}});
  for (const AttentionRecipe& recipe : AttentionRecipes()) recipes.push_back(recipe.name);
  Json schedules = Json::array();
  for (const Schedule& schedule : Schedules()) {
    schedules.push_back(schedule.name);
  }
  for (const RopeRecipe& recipe : RopeRecipes()) ropes.push_back(recipe.name);
  for (const Contract& contract : Contracts()) contracts.push_back(contract.name);
  for (const Rule& rule : Rules()) rules.push_back(rule.name);
  for (const std::string_view unit : matrix_unit::Units()) units.push_back(unit);
  return {{"targets", targets},    {"compiler", BITANCHOR_COMPILER}, {"recipes", recipes},
          {"rope_recipes", ropes}, {"contracts", contracts},         {"rules", rules},
          {"units", units},        {"schedules", schedules}};
}

void PrintInfo() {
  fmt::print("built with {}\n\nSIMD targets, best first (--target):", BITANCHOR_COMPILER);
  for (const simd::Target& target : simd::Targets()) fmt::print(" {}", target.name);
  fmt::print("\n\nattention recipes (--recipe):\n");
  for (const AttentionRecipe& recipe : AttentionRecipes())
    fmt::print("  {:20} {}\n", recipe.name, recipe.says);
  fmt::print("\nschedules of GPU kernels, forward (--recipe; what they leave open is a set):\n");
  for (const Schedule& schedule : Schedules()) {
    fmt::print("  {:28} {}\n  {:28} unit {}; {}\n", schedule.name, schedule.says, "", schedule.unit,
               schedule.source);
  }
  fmt::print("\nRoPE recipes (rope.recipe in a capture):\n");
  for (const RopeRecipe& recipe : RopeRecipes())
    fmt::print("  {:20} {}\n", recipe.name, recipe.says);
  fmt::print("\ncontracts (--contract):\n");
  for (const Contract& contract : Contracts())
    fmt::print("  {:20} {}\n", contract.name, contract.says);
  fmt::print("  {:20} one of those that have a matrix unit, on this unit alone\n", "CONTRACT/UNIT");
  fmt::print("\nacceptance rules that others use, to compare with (--rule):\n");
  for (const Rule& rule : Rules())
    fmt::print("  {:20} {}\n  {:20} NaN {}\n  {:20} {}\n", rule.name, rule.says, "", rule.nan, "",
               rule.source);
  fmt::print("\nmatrix units (matmul --unit, --contract CONTRACT/UNIT), and what they take:\n");
  for (const std::string_view unit : matrix_unit::Units()) {
    std::string inputs;
    for (const matrix_unit::Model& model : matrix_unit::Models()) {
      if (model.unit == unit) inputs += (inputs.empty() ? "" : ", ") + std::string(model.input);
    }
    if (matrix_unit::TakesF64(unit)) inputs += ", f64";
    fmt::print("  {:20} {}\n", unit, inputs);
  }
}

}  // namespace

void AddInfo(CLI::App& app, Action& run) {
  auto json = std::make_shared<std::string>();
  CLI::App* command = app.add_subcommand("info",
                                         "This CPU's targets, and the recipes and contracts of "
                                         "this build.\n\n  bitanchor info --json -\n");
  command->add_option("--json", *json, "Write JSON to this file (-: stdout) instead of a table")
      ->expected(0, 1)
      ->default_str("-");
  command->callback([command, json, &run] {
    run = [as_json = command->count("--json") > 0, json] {
      const std::string path = json->empty() ? "-" : *json;
      const std::string text = as_json ? InfoJson().dump(2) + "\n" : "";
      if (!as_json) PrintInfo();
      if (as_json && path == "-") fmt::print("{}", text);
      if (as_json && path != "-") WriteFile(path, text);
      return kPassed;
    };
  });
}

}  // namespace bitanchor::tools
