// The engine of matrix units gives the definition's bits on every target.
#include "simd/matrix_unit.h"

#include <gtest/gtest.h>

#include "tests/simd/matrix_unit_cases.h"
#include "tests/support/every_engine.h"

namespace bitanchor {
namespace {

using testing::Answers;
using testing::Kind;
using testing::Model;
using testing::Product;
using testing::Sizes;

class EveryModel : public ::testing::TestWithParam<Model> {};

// Ragged in every way: K no multiple of a group, N none of a vector, panels cut in M and N.
constexpr Sizes kSizes[] = {{2, 3, 5, 70},  {1, 2, 64, 19},     {1, 1, 1, 1},
                            {1, 5, 47, 65}, {1, 3, 100, 33, 3}, {1, 2, 96, 130, 2}};

TEST_P(EveryModel, GivesTheDefinitionsBits) {
  const Model& model = GetParam();
  int64_t undetermined = 0;
  uint64_t seed = 1;
  for (int kind = 0; kind < static_cast<int>(Kind::kKinds); ++kind) {
    for (const Sizes& sizes : kSizes) {
      const Product drawn(model, static_cast<Kind>(kind), sizes, ++seed);
      const auto product = drawn.View(seed % 3 != 0);
      const Answers want = testing::ByDefinition(product);
      undetermined += want.count;
      testing::ExpectOfEveryTarget(product, want,
                                   " kind " + std::to_string(kind) + " K " +
                                       std::to_string(sizes.K) + " N " + std::to_string(sizes.N));
      if (HasFatalFailure()) return;
    }
  }
  EXPECT_EQ(undetermined > 0, model.operand.max_exponent > 100);
}

INSTANTIATE_TEST_SUITE_P(Models, EveryModel, ::testing::ValuesIn(testing::ModelsOnLanes()),
                         [](const auto& model) { return testing::NameOf(model.param); });

TEST(MatrixUnit, TakesNvidiasSixteenBitsAndTF32) {
  EXPECT_EQ(testing::ModelsOnLanes().size(), 17u);
  for (const Model& model : matrix_unit::Models()) {
    if (model.f16) {
      EXPECT_FALSE(simd::OnLanes(model, *model.f16));
    }
  }
}

// More than one panel and one chunk of K, on any number of threads.
TEST(MatrixUnit, PanelsAndThreads) {
  const Model& model = *matrix_unit::FindModel("hopper", DType::kBF16);
  const Product drawn(model, Kind::kNormal, {2, 131, 300, 140, 2}, 5);
  const auto product = drawn.View(true);
  const Answers want = testing::ByDefinition(product);
  testing::ForEveryEngine([&](const simd::EngineOptions& options, const std::string& what) {
    testing::ExpectSame(testing::ByEngine(product, options), want, what);
  });
}

// What has no loops goes to the definition, f16 results among it.
TEST(MatrixUnit, OthersAreTheDefinitionItself) {
  for (const auto& [unit, dtype] :
       {std::pair{"cdna3", DType::kBF16}, {"blackwell", DType::kF8E4M3}}) {
    const Model& model = *matrix_unit::FindModel(unit, dtype);
    const Product drawn(model, Kind::kNormal, {2, 35, 40, 9}, 6);
    const auto product = drawn.View(true);
    testing::ExpectSame(testing::ByEngine(product, {}), testing::ByDefinition(product), unit);
  }
}

}  // namespace
}  // namespace bitanchor
