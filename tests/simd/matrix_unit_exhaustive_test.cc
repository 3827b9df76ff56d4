// At least 10^7 groups through the engine of matrix units on every target, against the definition,
// for every model that it has loops for, all kinds of operands. By hand:
//   build/release/tests/simd_matrix_unit_exhaustive_test
#include <gtest/gtest.h>

#include <atomic>
#include <cstdio>

#include "lib/matrix_unit/dot_add.h"
#include "simd/parallel.h"
#include "tests/simd/matrix_unit_cases.h"

namespace bitanchor {
namespace {

using testing::Answers;
using testing::Kind;
using testing::Model;
using testing::Product;

TEST(MatrixUnit, TenMillionGroups) {
  const std::vector<Model> models = testing::ModelsOnLanes();
  constexpr int64_t kGroups = 12'000'000;
  const int64_t each =
      kGroups / static_cast<int64_t>(models.size()) / static_cast<int>(Kind::kKinds);
  int64_t groups = 0, undetermined = 0;
  for (const Model& model : models) {
    for (int kind = 0; kind < static_cast<int>(Kind::kKinds); ++kind) {
      // Tasks of about 5,000 groups, each drawn on its own.
      constexpr int64_t kM = 8, kN = 77;
      const int64_t K = model.products * 8 - 1, in_one = kM * kN * 8;
      std::atomic<int64_t> corners = 0;
      const int64_t tasks = (each + in_one - 1) / in_one;
      simd::ParallelFor({}, tasks, [&](int64_t task, int) {
        const uint64_t seed = static_cast<uint64_t>(1000 + task);
        const Product drawn(model, static_cast<Kind>(kind), {1, kM, K, kN}, seed);
        const auto product = drawn.View(task % 3 != 0);
        const Answers want = testing::ByDefinition(product);
        corners += want.count;
        testing::ExpectOfEveryTarget(product, want,
                                     " " + testing::NameOf(model) + " kind " +
                                         std::to_string(kind) + " seed " + std::to_string(seed));
      });
      groups += tasks * in_one;
      undetermined += corners;
      if (HasFatalFailure()) return;
    }
  }
  for (const simd::Target& target : simd::Targets())
    std::printf("target %s\n", target.name.c_str());
  std::printf("%lld groups, %lld elements undetermined\n", static_cast<long long>(groups),
              static_cast<long long>(undetermined));
  EXPECT_GE(groups, 10'000'000);
}

}  // namespace
}  // namespace bitanchor
