// Contracts from JSON: every field arrives where it belongs, and what is not one is refused in a
// line that names it.
#include "lib/file/contract_file.h"

#include <gtest/gtest.h>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

Contract Parse(const std::string& text) { return ParseContract(text, "doc"); }

std::string RefusalOfContract(const std::string& text) {
  return Refusal([&] { Parse(text); });
}

// Every number but one, each another value.
nlohmann::json Complete() {
  return {{"name", "mine"},
          {"dtype", "F16"},
          {"operation", 0x1p-22},
          {"depth_base", 1},
          {"depth_keys", 2},
          {"row_sum_keys", 3.5},
          {"dot_dims", 4},
          {"exp_error", 0x1p-20},
          {"rescale_exp_error", 0x1p-19},
          {"rescale_keys", 5},
          {"stale_log2", 6},
          {"log_error", 0x1p-18},
          {"score_rounding", 0x1p-10},
          {"score_absolute", 0x1p-25},
          {"weight_rounding", 0x1p-11},
          {"weight_absolute", 0x1p-24},
          {"normalise_first", true},
          {"flush", 0x1p-127},
          {"libm_ulp", 7},
          {"bias_floor", 0.25},
          {"unit_products", 8},
          {"unit_fraction_bits", 24},
          {"gradient_key_tile", 9},
          {"gradient_query_tile_least", 10},
          {"gradient_query_tile_most", 11},
          {"gradient_query_tiles", 12}};
}

TEST(ContractFile, EveryFieldArrives) {
  nlohmann::json object = Complete();
  object["says"] = "what it says";
  object["source"] = "where from";
  const Contract c = Parse(object.dump());
  EXPECT_EQ(c.name, "mine");
  EXPECT_EQ(c.says, "what it says");
  EXPECT_EQ(c.source, "where from");
  EXPECT_EQ(c.dtype, DType::kF16);
  EXPECT_EQ(c.operation, 0x1p-22);
  EXPECT_EQ(c.depth_base, 1);
  EXPECT_EQ(c.depth_keys, 2);
  EXPECT_EQ(c.row_sum_keys, 3.5);
  EXPECT_EQ(c.dot_dims, 4);
  EXPECT_EQ(c.exp_error, 0x1p-20);
  EXPECT_EQ(c.rescale_exp_error, 0x1p-19);
  EXPECT_EQ(c.rescale_keys, 5);
  EXPECT_EQ(c.stale_log2, 6);
  EXPECT_EQ(c.log_error, 0x1p-18);
  EXPECT_EQ(c.score_rounding, 0x1p-10);
  EXPECT_EQ(c.score_absolute, 0x1p-25);
  EXPECT_EQ(c.weight_rounding, 0x1p-11);
  EXPECT_EQ(c.weight_absolute, 0x1p-24);
  EXPECT_TRUE(c.normalise_first);
  EXPECT_EQ(c.flush, 0x1p-127);
  EXPECT_EQ(c.libm_ulp, 7);
  EXPECT_EQ(c.bias_floor, 0.25);
  EXPECT_EQ(c.unit.products, 8);
  EXPECT_EQ(c.unit.fraction_bits, 24);
  EXPECT_EQ(c.gradient_key_tile, 9);
  EXPECT_EQ(c.gradient_query_tile_least, 10);
  EXPECT_EQ(c.gradient_query_tile_most, 11);
  EXPECT_EQ(c.gradient_query_tiles, 12);
}

TEST(ContractFile, ABaseGivesWhatTheFileDoesNotSay) {
  const Contract& base = *FindContract("tensor-core-bf16");
  const Contract c = Parse(R"({"name": "hopper", "base": "tensor-core-bf16",
                               "unit_products": 16, "unit_fraction_bits": 25})");
  EXPECT_EQ(c.name, "hopper");
  EXPECT_EQ(c.unit.products, 16);
  EXPECT_EQ(c.unit.fraction_bits, 25);
  EXPECT_EQ(c.dtype, base.dtype);
  EXPECT_EQ(c.exp_error, base.exp_error);
  EXPECT_EQ(c.depth_base, base.depth_base);
  EXPECT_EQ(c.weight_rounding, base.weight_rounding);
  EXPECT_EQ(c.source, base.source);
}

TEST(ContractFile, WithoutABaseEveryNumberIsNeeded) {
  const nlohmann::json complete = Complete();
  EXPECT_EQ(RefusalOfContract(complete.dump()), "");
  for (const auto& [key, unused] : complete.items()) {
    nlohmann::json one_less = complete;
    one_less.erase(key);
    EXPECT_EQ(RefusalOfContract(one_less.dump()).find(key + ": got no"), 0u) << key;
  }
}

TEST(ContractFile, OtherTypesAndNumbersOutOfRangeAreRefusedByName) {
  const nlohmann::json complete = Complete();
  for (const auto& [key, value] : complete.items()) {
    using json = nlohmann::json;
    const std::vector<json> wrongs = {nullptr,
                                      "1e-3",
                                      json::array(),
                                      json::object(),
                                      1e300,
                                      json(value.is_boolean() ? 1.0 : -1.0),
                                      value.is_boolean() ? json(0) : json(true)};
    for (const json& wrong : wrongs) {
      if (key == "name" && wrong.is_string()) continue;
      nlohmann::json changed = complete;
      changed[key] = wrong;
      EXPECT_EQ(RefusalOfContract(changed.dump()).find(key + ": got "), 0u) << key << " " << wrong;
    }
  }
}

TEST(ContractFile, Refusals) {
  const auto with = [](const std::string& rest) {
    return RefusalOfContract(R"({"name": "mine", "base": "flash-f16")" + rest + "}");
  };
  EXPECT_EQ(with(""), "");
  EXPECT_EQ(with(R"(, "exp_eror": 1)").find("exp_eror: got a key of this name"), 0u);
  EXPECT_EQ(with(R"(, "exp_error": 0.001, "exp_error": 0.001)").find("exp_error: got the same"),
            0u);
  EXPECT_EQ(with(R"(, "stale_log2": 16)").find("stale_log2: got 16, want at most 15"), 0u);
  EXPECT_EQ(with(R"(, "unit_products": 8)").find("unit_fraction_bits: got 0"), 0u);
  EXPECT_EQ(with(R"(, "gradient_query_tile_most": 1)").find("gradient_query_tile_most: got 1"), 0u);
  EXPECT_EQ(with(R"(, "rescale_exp_error": 0)").find("rescale_exp_error: got 0"), 0u);
  EXPECT_EQ(with(R"(, "operation": 0)").find("operation: got 0"), 0u);
  EXPECT_EQ(RefusalOfContract(R"({"base": "flash-f16"})").find("name: got none"), 0u);
  EXPECT_EQ(RefusalOfContract(R"({"name": "flash-bf16", "base": "flash-f16"})").find("name: got"),
            0u);
  EXPECT_EQ(RefusalOfContract(R"({"name": "a\nb", "base": "flash-f16"})").find("name: got"), 0u);
  EXPECT_EQ(RefusalOfContract(R"({"name": "mine", "base": "flash"})").find("base: got"), 0u);
  for (const char* text : {"", "3", "[]", "{", R"({"name": "mine", "base": "flash-f16"} x)"}) {
    EXPECT_EQ(RefusalOfContract(text).find("doc: got"), 0u) << text;
  }
}

TEST(ContractFile, AUnitByName) {
  const auto unit_of = [](const Contract& contract, const std::string& name) {
    if (name != "good") throw InputError("unit", name, "good");
    return contract.On({4, 12, 0x1p-20, 0x1p-21, 0x1p-14}, 0x1p-126, name);
  };
  const auto with = [&](const std::string& rest) {
    return ParseContract(R"({"name": "mine", "base": "tensor-core-f16")" + rest + "}", "doc",
                         unit_of);
  };
  const Contract c = with(R"(, "unit": "good", "weight_absolute": 0, "flush": 0)");
  EXPECT_EQ(c.name, "mine");
  EXPECT_EQ(c.unit.products, 4);
  EXPECT_EQ(c.unit.fraction_bits, 12);
  EXPECT_EQ(c.unit.rounding, 0x1p-20);
  EXPECT_EQ(c.unit.product, 0x1p-21);
  EXPECT_EQ(c.unit.flush, 0x1p-14);
  EXPECT_EQ(c.weight_absolute, 0x1p-14);  // a weight that the unit takes for zero
  EXPECT_EQ(c.flush, 0x1p-126);
  EXPECT_EQ(Refusal([&] { with(R"(, "unit": "bad")"); }), "unit: got bad, want good");
  EXPECT_EQ(Refusal([&] { with(R"(, "unit": "good", "unit_products": 4)"); }),
            "unit_products: got a number, want none beside unit");
  EXPECT_EQ(Refusal([&] { with(R"(, "unit": 4)"); }).find("unit: got 4"), 0u);
  EXPECT_EQ(RefusalOfContract(R"({"name": "a", "base": "tensor-core-f16", "unit": "good"})")
                .find("unit: got \"good\""),
            0u);
}

TEST(ContractFile, ReadsAFile) {
  const TempDir folder;
  Spill(folder / "c.json", R"({"name": "mine", "base": "flash-f32", "exp_error": 0.001})");
  EXPECT_EQ(ReadContract(folder / "c.json").exp_error, 0.001);
  EXPECT_NE(Refusal([&] { ReadContract(folder / "none.json"); }), "");
  Spill(folder / "empty.json", "");
  EXPECT_NE(Refusal([&] { ReadContract(folder / "empty.json"); }), "");
}

}  // namespace
}  // namespace bitanchor::test
