// What storing a running sum may cost: terms chosen so that every rounding goes up by nearly half a
// unit in the last place.
#include "lib/exact/gradient_sum.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "lib/number/ulp.h"
#include "lib/tensor/tensor_view.h"

namespace bitanchor {
namespace {

constexpr int64_t kTileTokens = 4;

struct Kernel {
  int64_t heads, tiles;  // of each head
  bool descending, head_apart;
  bool alternating;  // a head's terms have one sign, the next head's the other
  bool growing;      // with the token, instead of shrinking

  // Of the orders that the contract leaves open, whether this one costs most.
  bool IsDearest() const { return descending == growing && head_apart == alternating; }
};

// The least term near `about` that, added to a bf16 sum, makes it round up from just above a tie.
double WorstTerm(double running, double about) {
  const double near = running + about, ulp = UlpOf(kFormatBF16, near);
  return std::floor(near / ulp) * ulp + 0.501 * ulp - running;
}

void Judge(const Kernel& kernel) {
  std::vector<double> terms(kernel.heads * kernel.tiles);
  double running = 0, answer = 0;
  for (int64_t step = 0; step < kernel.heads * kernel.tiles; ++step) {
    const int64_t n = kernel.descending ? kernel.heads * kernel.tiles - 1 - step : step;
    const double size =
        std::pow(kernel.growing ? 1.9 : 0.55, static_cast<double>(n % kernel.tiles));
    terms[n] = WorstTerm(running, kernel.alternating && n / kernel.tiles % 2 == 1 ? -size : size);
    running = RoundTo(DType::kBF16, running + terms[n]);
    const bool head_ends = step % kernel.tiles == kernel.tiles - 1;
    if (head_ends && kernel.head_apart) {
      answer += running;
      running = 0;
    }
  }
  answer = RoundTo(DType::kBF16, answer + running);

  exact::GradientSum sum(1, kTileTokens);
  for (int64_t n = 0; n < kernel.heads * kernel.tiles; ++n) {
    sum.StartPair(n / kernel.tiles, n % kernel.tiles * kTileTokens + n % kTileTokens);
    sum.Add(0, terms[n], 0, std::fabs(terms[n]));
  }
  const Interval interval =
      sum.Finished(0, DefaultContract(DType::kBF16), 1, DType::kBF16, DType::kBF16);
  EXPECT_LE(interval.low, answer);
  EXPECT_GE(interval.high, answer);
  if (kernel.IsDearest()) {  // two fifths of the bound would not do
    EXPECT_GT(answer - interval.want, 0.4 * (interval.high - interval.want));
  }
}

TEST(GradientSum, CoversTheWorstRoundingsOfAStoredSum) {
  for (int choice = 0; choice < 32; ++choice) {
    const bool many_heads = (choice & 16) != 0;
    const Kernel kernel = {many_heads ? 30 : 3, many_heads ? 1 : 12, (choice & 1) != 0,
                           (choice & 2) != 0,   (choice & 4) != 0,   (choice & 8) != 0};
    SCOPED_TRACE(testing::Message() << kernel.heads << " heads, descending " << kernel.descending
                                    << ", heads apart " << kernel.head_apart << ", signs alternate "
                                    << kernel.alternating << ", growing " << kernel.growing);
    Judge(kernel);
  }
}

TEST(GradientSum, NothingStoredWithinATile) {
  exact::GradientSum sum(1, 100);
  for (int64_t n = 0; n < 100; ++n) {
    sum.StartPair(0, n);
    sum.Add(0, 1.0 / 3, 0, 1.0 / 3);
  }
  const Interval interval =
      sum.Finished(0, DefaultContract(DType::kF32), 1, DType::kBF16, DType::kF32);
  EXPECT_LT(interval.high - interval.low, 0.02);  // of 33: f32's roundings alone
}

TEST(GradientSum, EmptyAndOverflowing) {
  exact::GradientSum sum(1, 4);
  const Contract& contract = DefaultContract(DType::kF32);
  EXPECT_EQ(sum.Finished(0, contract, 1, DType::kF32, DType::kF32).high, 0);
  sum.StartPair(0, 0);
  sum.Add(0, 0x1p126, 0, 0x1p126);
  const Interval interval = sum.Finished(0, contract, 1, DType::kF32, DType::kF32);
  EXPECT_GT(interval.low, interval.high);
}

}  // namespace
}  // namespace bitanchor
