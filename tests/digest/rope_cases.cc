#include <fmt/format.h>

#include "tests/digest/cases.h"
#include "tests/digest/draw.h"
#include "tests/support/rope_config.h"

namespace bitanchor::digest {
namespace {

using testing::MakeRopeConfig;

constexpr DType kDTypes[] = {DType::kBF16, DType::kF16, DType::kF32};

// Ends of formats' integers, and positions in between: one a token.
std::vector<int64_t> Positions(int64_t tokens) {
  std::vector<int64_t> positions = {
      0,        1,      2,       255,           256,     257,           2047,
      2048,     2049,   8188,    8191,          15962,   65504,         65535,
      65536,    131071, 1 << 20, (1 << 24) - 1, 1 << 24, (1 << 24) + 1, 1 << 30,
      INT32_MAX};
  for (int64_t n = 0; static_cast<int64_t>(positions.size()) < tokens; ++n) {
    positions.push_back(n * 7919 % 200003);
  }
  positions.resize(tokens);
  return positions;
}

struct Shape {
  int64_t D, R;
};

void Compute(const RopeConfig& config, const RopeRecipe& recipe, DType dtype, int64_t D,
             RopeDirection direction, Engine& engine, Results& results) {
  // Angles of f16 are infinite past 65504, and so NaN where a recipe takes them in the model's
  // type.
  const Shape4 shape = {2, 19, 2, D};
  const std::vector<int64_t> positions = Positions(shape[0] * shape[1]);
  for (const Values values :
       {Values::kNormal, Values::kWide, Values::kSubnormal, Values::kSpecial}) {
    const auto in = DrawTensor(values, dtype, shape, static_cast<uint64_t>(77 + D));
    std::vector<std::byte> out(in.size());
    engine.ApplyRope(config, recipe, DenseView(dtype, in.data(), shape), positions,
                     DenseView(dtype, out.data(), shape), direction);
    results.Add(dtype, out);
  }
}

void Add(std::vector<Case>& cases, const std::string& name, const RopeConfig& config,
         const RopeRecipe& recipe, DType dtype, int64_t D,
         RopeDirection direction = RopeDirection::kForward) {
  cases.push_back({name, Operation::kRope, 50,
                   [config, &recipe, dtype, D, direction](Engine& engine, Results& results) {
                     Compute(config, recipe, dtype, D, direction, engine, results);
                   }});
}

// Numbers that a kernel brought itself: frequencies and tables with every bit of f32.
void AddGiven(std::vector<Case>& cases, const RopeRecipe& recipe, DType dtype) {
  const int64_t half = 12, rows = 1024;
  RopeConfig config = MakeRopeConfig(recipe, RopeType::kDefault, RopePairing::kHalf, 2 * half);
  if (TakesInverseFrequencies(recipe)) {
    for (int64_t i = 0; i < half; ++i) {
      config.inv_freq.push_back(
          std::bit_cast<float>(0x3f800000u - static_cast<uint32_t>(i * 0x345678)));
    }
    Add(cases, fmt::format("rope/{}/{}/given-inv-freq", recipe.name, DTypeName(dtype)), config,
        recipe, dtype, 40);
    config.inv_freq.clear();
  }
  for (int64_t i = 0; i < rows * half; ++i) {
    config.cos.push_back(std::bit_cast<float>(DrawBits(Values::kNormal, DType::kF32, 1, i)));
    config.sin.push_back(std::bit_cast<float>(DrawBits(Values::kWide, DType::kF32, 2, i)));
  }
  cases.push_back({fmt::format("rope/{}/{}/given-tables", recipe.name, DTypeName(dtype)),
                   Operation::kRope, 90,
                   [config, &recipe, dtype](Engine& engine, Results& results) {
                     const Shape4 shape = {1, 50, 1, 40};
                     std::vector<int64_t> positions;
                     for (int64_t s = 0; s < 50; ++s) positions.push_back(s * 509 % rows);
                     const auto in = DrawTensor(Values::kNormal, dtype, shape, 5);
                     std::vector<std::byte> out(in.size());
                     engine.ApplyRope(config, recipe, DenseView(dtype, in.data(), shape), positions,
                                      DenseView(dtype, out.data(), shape), RopeDirection::kForward);
                     results.Add(dtype, out);
                   }});
}

void AddInverseFrequencies(std::vector<Case>& cases, const RopeRecipe& recipe) {
  cases.push_back(
      {fmt::format("inv-freq/{}", recipe.name), Operation::kDefinition, 100,
       [&recipe](Engine&, Results& results) {
         for (const RopeType type : {RopeType::kDefault, RopeType::kLinear, RopeType::kLlama3}) {
           if (!TakesRopeType(recipe, type)) continue;
           for (const double theta : {10000.0, 500000.0, 1000000.0, 8000000.0, 1e9}) {
             for (const int64_t R : {2, 34, 64, 96, 128, 256}) {
               RopeConfig config = MakeRopeConfig(recipe, type, recipe.pairing, R);
               config.rope_theta = theta;
               results.Add(InverseFrequencies(config, recipe));
             }
           }
         }
       }});
}

// Whether an earlier row of the table has the same stages under another name.
bool IsAnotherName(const RopeRecipe& recipe) {
  for (const RopeRecipe& r : RopeRecipes()) {
    if (&r == &recipe) return false;
    if (r.inverse == recipe.inverse && r.rule == recipe.rule && r.operands == recipe.operands &&
        r.angle == recipe.angle && r.table == recipe.table && r.apply == recipe.apply) {
      return true;
    }
  }
  return false;
}

}  // namespace

void AddRopeCases(std::vector<Case>& cases) {
  for (const RopeRecipe& recipe : RopeRecipes()) {
    if (IsAnotherName(recipe)) continue;
    AddInverseFrequencies(cases, recipe);
    for (const DType dtype : kDTypes) {
      for (const RopePairing pairing : {RopePairing::kHalf, RopePairing::kInterleaved}) {
        for (const auto& [type, D, R] : {std::tuple{RopeType::kDefault, 40, 40},
                                         {RopeType::kLinear, 47, 34},
                                         {RopeType::kLlama3, 128, 128}}) {
          if (!TakesRopeType(recipe, type)) continue;
          Add(cases,
              fmt::format("rope/{}/{}/{}/{}/{}-of-{}", recipe.name, DTypeName(dtype), Name(pairing),
                          Name(type), R, D),
              MakeRopeConfig(recipe, type, pairing, R), recipe, dtype, D);
        }
      }
      AddGiven(cases, recipe, dtype);
    }
  }
  for (const char* name : {"hf-llama", "hf-olmo2", "gemma-jax"}) {
    const RopeRecipe& recipe = *FindRopeRecipe(name);
    for (const RopeType type : {RopeType::kDynamic, RopeType::kYarn, RopeType::kLongrope}) {
      for (const DType dtype : kDTypes) {
        Add(cases, fmt::format("rope/{}/{}/{}", recipe.name, DTypeName(dtype), Name(type)),
            MakeRopeConfig(recipe, type, recipe.pairing, 40), recipe, dtype, 47);
      }
    }
  }
  for (const DType dtype : kDTypes) {
    const RopeRecipe& recipe = *FindRopeRecipe("hf-llama");
    RopeConfig config = MakeRopeConfig(recipe, RopeType::kYarn, recipe.pairing, 40);
    config.truncate = false;
    config.mscale = 0.707;
    config.mscale_all_dim = 1.25;
    Add(cases, fmt::format("rope/{}/{}/yarn-mscale", recipe.name, DTypeName(dtype)), config, recipe,
        dtype, 47);
  }
  for (const RopeRecipe& recipe : RopeRecipes()) {
    if (IsAnotherName(recipe)) continue;
    for (const DType dtype : kDTypes) {
      Add(cases, fmt::format("rope-backward/{}/{}", recipe.name, DTypeName(dtype)),
          MakeRopeConfig(recipe, RopeType::kDefault, recipe.pairing, 40), recipe, dtype, 47,
          RopeDirection::kBackward);
    }
  }
}

}  // namespace bitanchor::digest
