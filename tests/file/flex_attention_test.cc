// BlockMask tensors against PyTorch's definition, done again pair by pair: pad the mask with false
// to whole blocks, count, sort. tests/python/mask_test.py compares with PyTorch itself.
#include "lib/file/flex_attention.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "tests/file/test_files.h"
#include "tests/problem/brute_force.h"

namespace bitanchor {
namespace {

// What torch.argsort(descending=True, stable=True) makes of rows of zeros and ones.
FlexBlockList Sorted(int64_t B, int64_t rows, int64_t columns,
                     const std::function<bool(int64_t, int64_t, int64_t)>& in) {
  FlexBlockList list;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t r = 0; r < rows; ++r) {
      std::vector<int32_t> order;
      for (int64_t c = 0; c < columns; ++c) order.push_back(static_cast<int32_t>(c));
      const auto middle =
          std::stable_partition(order.begin(), order.end(), [&](int32_t c) { return in(b, r, c); });
      list.num_blocks.push_back(static_cast<int32_t>(middle - order.begin()));
      list.indices.insert(list.indices.end(), order.begin(), order.end());
    }
  }
  return list;
}

void ExpectEqual(const FlexBlockList& got, const FlexBlockList& want, const std::string& says) {
  EXPECT_EQ(got.num_blocks, want.num_blocks) << says;
  EXPECT_EQ(got.indices, want.indices) << says;
}

TEST(FlexBlockMask, IsThePaddedMaskCountedAndSorted) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    std::mt19937_64 random(seed);
    const Mask mask = test::RandomMask(random, 50);
    const int64_t block_q = test::Pick(random, 1, 20), block_k = test::Pick(random, 1, 20);
    const int64_t Mq = (mask.Sq + block_q - 1) / block_q, Mk = (mask.Skv + block_k - 1) / block_k;
    std::vector<int64_t> seen(mask.B * Mq * Mk, 0);
    for (int64_t b = 0; b < mask.B; ++b) {
      for (int64_t i = 0; i < mask.Sq; ++i) {
        for (const int64_t j : test::KeysSeen(mask, b, i)) {
          ++seen[(b * Mq + i / block_q) * Mk + j / block_k];
        }
      }
    }
    const auto count = [&](int64_t b, int64_t q, int64_t k) { return seen[(b * Mq + q) * Mk + k]; };
    const auto full = [&](int64_t b, int64_t q, int64_t k) {
      return count(b, q, k) == block_q * block_k;
    };
    const auto partial = [&](int64_t b, int64_t q, int64_t k) {
      return count(b, q, k) > 0 && !full(b, q, k);
    };
    const FlexBlockMask got = MakeFlexBlockMask(mask, block_q, block_k);
    const std::string says = std::to_string(seed) + ": " + test::Describe(mask);
    ExpectEqual(got.kv, Sorted(mask.B, Mq, Mk, partial), says);
    ExpectEqual(got.full_kv, Sorted(mask.B, Mq, Mk, full), says);
    const auto turned = [](const auto& in) {
      return [&in](int64_t b, int64_t k, int64_t q) { return in(b, q, k); };
    };
    ExpectEqual(got.q, Sorted(mask.B, Mk, Mq, turned(partial)), says);
    ExpectEqual(got.full_q, Sorted(mask.B, Mk, Mq, turned(full)), says);
  }
}

TEST(FlexBlockMask, RefusesWhatWouldNotFit) {
  const Mask mask{{}, 1, 1 << 20, 1 << 20, {}, {}};
  EXPECT_THROW(MakeFlexBlockMask(mask, 1, 1), InputError);
  EXPECT_THROW(MakeFlexBlockMask(mask, 64, 64), InputError);  // 2^28 blocks
  EXPECT_THROW(MakeFlexBlockMask(mask, 128, int64_t{1} << 31), InputError);
  const Mask many{{}, int64_t{1} << 40, 4, 4, {}, {}};
  EXPECT_THROW(MakeFlexBlockMask(many, 1, 1), InputError);
}

TEST(FlexMaskMod, LeavesOutTermsThatSayNothing) {
  const std::string dense = FlexMaskMod({{MaskRule::kFull, false}, 1, 4, 4, {}, {}});
  EXPECT_NE(dense.find("b.new_ones((), dtype=torch.bool)"), std::string::npos);
  const std::string window =
      FlexMaskMod({{MaskRule::kFull, true, INT64_MAX, Corner::kBottomRight}, 1, 5, 4, {}, {}});
  EXPECT_EQ(window.find(" < "), std::string::npos) << window;
  EXPECT_NE(window.find("(kv_idx <= q_idx - 1)"), std::string::npos) << window;
}

}  // namespace
}  // namespace bitanchor
