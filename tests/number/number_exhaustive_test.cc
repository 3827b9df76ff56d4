// All 2^32 f32 inputs: conversions against format_reference.h, univariate functions against MPFR.
// By hand, on all cores:
//   build/release/tests/number_number_exhaustive_test [--gtest_filter=*exp]
// About a quarter of an hour a function on two cores.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <bit>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/number/format_reference.h"
#include "tests/number/mpfr_oracle.h"

namespace bitanchor {
namespace {

// right(worker's own state, x) for every f32; prints how many were wrong and the first of them.
template <typename MakeState, typename Right>
void ForAllF32(const MakeState& make_state, const Right& right) {
  std::atomic<uint64_t> next{0}, wrong{0}, checked{0};
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < std::max(1u, std::thread::hardware_concurrency()); ++n) {
    threads.emplace_back([&] {
      auto state = make_state();
      constexpr uint64_t kChunk = 1 << 20;
      for (uint64_t begin = next.fetch_add(kChunk); begin < (uint64_t{1} << 32);
           begin = next.fetch_add(kChunk)) {
        for (uint64_t bits = begin; bits < begin + kChunk; ++bits) {
          const float x = std::bit_cast<float>(static_cast<uint32_t>(bits));
          if (!right(*state, x) && wrong.fetch_add(1) == 0) ADD_FAILURE() << std::hexfloat << x;
        }
        checked.fetch_add(kChunk);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong.load(), 0u);
  EXPECT_EQ(checked.load(), uint64_t{1} << 32);
}

TEST(NumberExhaustive, Conversions) {
  ForAllF32([] { return std::make_unique<int>(0); },
            [](int, float x) { return testing::ConversionsAreRight(x); });
}

class FunctionExhaustive : public ::testing::TestWithParam<testing::Function> {};

TEST_P(FunctionExhaustive, AgainstMPFR) {
  const testing::Function f = GetParam();
  ForAllF32([] { return std::make_unique<testing::Oracle>(); },
            [&](testing::Oracle& oracle, float x) {
              return std::bit_cast<uint32_t>(f.ours(x)) ==
                     std::bit_cast<uint32_t>(oracle.Of(f.theirs, x));
            });
}

INSTANTIATE_TEST_SUITE_P(All, FunctionExhaustive, ::testing::ValuesIn(testing::kFunctions),
                         [](const auto& row) { return std::string(row.param.name); });

}  // namespace
}  // namespace bitanchor
