// All 2^32 f32 inputs: conversions against format_reference.h, univariate functions against MPFR,
// by addition_oracle.h where that decides; and pow over the frequencies of models. By hand, on all
// cores; a run that was stopped goes on where it was:
//   build/release/tests/number_number_exhaustive_test [--gtest_filter=*exp]
#include <gtest/gtest.h>

#include <atomic>
#include <bit>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/number/addition_oracle.h"
#include "tests/number/format_reference.h"
#include "tests/number/model_thetas.h"
#include "tests/number/mpfr_oracle.h"
#include "tests/number/sweep.h"

namespace bitanchor {
namespace {

using testing::Function;
using testing::Oracle;
using testing::Tally;

uint32_t Bits(float x) { return std::bit_cast<uint32_t>(x); }

constexpr uint32_t kNaN = 0x7FC00000;

TEST(NumberExhaustive, Conversions) {
  testing::SweepAllF32("conversions", [] {
    return [hints = testing::NeighbourHints{}](uint32_t block) mutable {
      Tally tally;
      for (uint32_t m = 0; m < testing::kBlockInputs; ++m, ++tally.checked) {
        const uint32_t bits = block << 23 | m;
        if (testing::ConversionsAreRight(std::bit_cast<float>(bits), hints)) continue;
        if (tally.wrong++ == 0) tally.wrong_inputs.push_back(bits);
      }
      return tally;
    };
  });
}

// Tallies a block, whose results the oracle gives by whichever of its arguments holds there.
template <typename Tables>
class Prover {
 public:
  explicit Prover(const Function& f) : f_(f) {}

  Tally operator()(uint32_t block) {
    Tally tally;
    const uint32_t first = block << 23, last = first | (testing::kBlockInputs - 1);
    if ((block & 255) == 255 || (f_.theirs == mpfr_log && block >= 256)) {
      // An infinity and NaNs; the log of -0 and of negative numbers.
      const uint32_t of_first = Theirs(first, tally);
      for (uint32_t m = 0; m < testing::kBlockInputs; ++m)
        Compare(first | m, m == 0 ? of_first : kNaN, tally);
      return tally;
    }
    const bool monotone = f_.theirs == mpfr_exp || f_.theirs == mpfr_exp2;
    if (monotone) {  // the same at both ends: the same between them
      const uint32_t low = Hard(first, tally), high = Hard(last, tally);
      if (low == high) {
        for (uint32_t m = 0; m < testing::kBlockInputs; ++m) Compare(first | m, low, tally);
        return tally;
      }
    }
    tables_->Enter(f_.theirs, block);
    for (uint32_t m = 0; m < testing::kBlockInputs; ++m) {
      const testing::Estimate estimate = tables_->At(m);
      const double error = 0x1p-46 * estimate.size;
      uint32_t want = Bits(static_cast<float>(estimate.value - error));
      if (want != Bits(static_cast<float>(estimate.value + error))) {
        want = Hard(first | m, tally);
      }
      Compare(first | m, want, tally);
    }
    return tally;
  }

 private:
  uint32_t Theirs(uint32_t bits, Tally& tally) {
    ++tally.asked;
    return Bits(oracle_->Of(f_.theirs, std::bit_cast<float>(bits)));
  }
  uint32_t Hard(uint32_t bits, Tally& tally) {
    const uint32_t result = Theirs(bits, tally);
    const float x = std::bit_cast<float>(bits), y = std::bit_cast<float>(result);
    if (x == 0 || y == 0 || std::isnan(y)) return result;
    if (const double log2_distance = testing::Log2Distance(f_.theirs, x, y); log2_distance < -20)
      tally.hard.push_back({bits, log2_distance});
    return result;
  }
  void Compare(uint32_t bits, uint32_t want, Tally& tally) {
    ++tally.checked;
    const float x = std::bit_cast<float>(bits);
    if (Bits(f_.ours(x)) != want && tally.wrong++ == 0) tally.wrong_inputs.push_back(bits);
    if (bits % 251 != 0) return;
    ++tally.cross_checked;
    if (Bits(oracle_->Of(f_.theirs, x)) != want && tally.oracle_wrong++ == 0)
      tally.wrong_inputs.push_back(bits);
  }

  Function f_;
  std::unique_ptr<Oracle> oracle_ = std::make_unique<Oracle>();
  std::unique_ptr<Tables> tables_ = std::make_unique<Tables>();
};

class FunctionExhaustive : public ::testing::TestWithParam<Function> {};

TEST_P(FunctionExhaustive, AgainstMPFR) {
  const Function f = GetParam();
  if (f.theirs == mpfr_log) {
    testing::SweepAllF32(f.name, [&] { return Prover<testing::LogTables>(f); });
  } else if (f.theirs == mpfr_sin || f.theirs == mpfr_cos) {
    testing::SweepAllF32(f.name, [&] { return Prover<testing::CircularTables>(f); });
  } else {
    testing::SweepAllF32(f.name, [&] { return Prover<testing::ExponentialTables>(f); });
  }
}

INSTANTIATE_TEST_SUITE_P(All, FunctionExhaustive, ::testing::ValuesIn(testing::kFunctions),
                         [](const auto& row) { return std::string(row.param.name); });

// Every (theta, +-RN_f32(2i/R)), R even to 512, i < R/2, without repetitions.
TEST(NumberExhaustive, PowOfModels) {
  std::set<uint32_t> thetas;
  for (const float theta : testing::ModelThetas()) thetas.insert(Bits(theta));
  std::set<uint32_t> exponents;
  for (int R = 2; R <= 512; R += 2) {
    for (int i = 0; i < R / 2; ++i) {
      const uint32_t x = Bits(static_cast<float>(2 * i) / static_cast<float>(R));
      exponents.insert({x, x ^ 0x80000000});
    }
  }
  const std::vector<uint32_t> bases(thetas.begin(), thetas.end());
  std::atomic<uint64_t> checked{0}, wrong{0};
  std::atomic<size_t> next{0};
  std::vector<std::thread> threads;
  for (unsigned n = 0; n < std::max(1u, std::thread::hardware_concurrency()); ++n) {
    threads.emplace_back([&] {
      Oracle oracle;
      for (size_t at = next++; at < bases.size(); at = next++) {
        const float theta = std::bit_cast<float>(bases[at]);
        for (const uint32_t bits : exponents) {
          const float x = std::bit_cast<float>(bits);
          ++checked;
          if (Bits(number::Pow(theta, x)) == Bits(oracle.Pow(theta, x))) continue;
          if (++wrong < 20) std::printf("  wrong: pow(%a, %a)\n", double{theta}, double{x});
        }
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  std::printf("pow: %zu thetas, %zu exponents, %llu checked, %llu wrong\n", bases.size(),
              exponents.size(), static_cast<unsigned long long>(checked.load()),
              static_cast<unsigned long long>(wrong.load()));
  EXPECT_EQ(checked.load(), bases.size() * exponents.size());
  EXPECT_EQ(wrong.load(), 0u);
}

}  // namespace
}  // namespace bitanchor
