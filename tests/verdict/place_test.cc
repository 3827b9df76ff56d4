// Signatures say where wrong elements are, are true, and are silent where they are everywhere.
#include "lib/verdict/place.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <limits>

namespace bitanchor {
namespace {

constexpr int64_t kB = 2, kS = 512, kH = 16, kD = 8;

// Documents of 128 tokens behind one anchor token.
Mask Documents() {
  Mask mask;
  mask.spec.rule = MaskRule::kAnchor;
  mask.B = kB;
  mask.Sq = mask.Skv = kS;
  for (int64_t n = 0; n < kB * kS; ++n) mask.k_ids.push_back(n % kS == 0 ? 0 : 1 + n % kS / 128);
  mask.q_ids = mask.k_ids;
  return mask;
}

using IsWrong = std::function<bool(int64_t b, int64_t s, int64_t h, int64_t d)>;

std::string Where(const IsWrong& is_wrong, const Mask& mask = Documents()) {
  Census census(DType::kF32);
  for (int64_t b = 0; b < kB; ++b) {
    for (int64_t h = 0; h < kH; ++h) {
      for (int64_t s = 0; s < kS; ++s) {
        float got[kD];
        Interval want[kD];
        for (int64_t d = 0; d < kD; ++d) {
          want[d] = {1, 1, 1};
          got[d] = is_wrong(b, s, h, d) ? 2 : 1;
        }
        census.AddRow({b, s, h, 0}, got, want, kD);
      }
    }
  }
  return Signature(census, mask, Side::kQueries);
}

TEST(Signature, NothingOrEverything) {
  EXPECT_EQ(Where([](auto...) { return false; }), "");
  EXPECT_EQ(Where([](auto...) { return true; }), "");
  EXPECT_EQ(Where([](int64_t b, int64_t s, int64_t h, int64_t d) {
              return (b * 7919 + s * 104729 + h * 1299709 + d * 15485863) % 5 == 0;
            }),
            "");
}

TEST(Signature, HeadsDimensionsBatches) {
  EXPECT_EQ(Where([](int64_t, int64_t, int64_t h, int64_t) { return h % 8 == 0; }),
            "all 16384 wrong elements are in heads 0, 8");
  EXPECT_EQ(Where([](int64_t, int64_t, int64_t h, int64_t) { return h % 4 == 1; }),
            "all 32768 wrong elements are in heads 1, 5, 9, 13 (every 4th)");
  EXPECT_EQ(Where([](int64_t b, int64_t, int64_t, int64_t d) { return b == 1 && d == 3; }),
            "all 8192 wrong elements are in batch 1; dimension 3");
}

TEST(Signature, DocumentsAndTheirStarts) {
  const Mask mask = Documents();
  EXPECT_EQ(Where([&](int64_t, int64_t s, int64_t, int64_t) {
              return mask.k_ids[s] == 2 || mask.k_ids[s] == 3;
            }),
            "all 65536 wrong elements are in documents 2..3; tokens 128..383");
  EXPECT_EQ(Where([](int64_t, int64_t s, int64_t, int64_t) { return s >= 128 && s % 128 < 10; }),
            "all 7680 wrong elements are in the first 64 tokens of a document");
}

TEST(Signature, FromATokenOn) {
  EXPECT_EQ(Where([](int64_t, int64_t s, int64_t, int64_t) { return s >= 300; },
                  [] {
                    Mask mask;
                    mask.B = kB;
                    mask.Sq = mask.Skv = kS;
                    return mask;
                  }()),
            "all 54272 wrong elements are in tokens from 300 on");
}

TEST(Signature, OneElement) {
  EXPECT_EQ(Where([](int64_t b, int64_t s, int64_t h, int64_t d) {
              return b == 0 && s == 300 && h == 5 && d == 7;
            }),
            "the wrong element is in batch 0; head 5; document 3; token 300; dimension 7");
}

// One stray element does not hide where the others are, and is not denied.
TEST(Signature, MostOfThem) {
  EXPECT_EQ(Where([](int64_t b, int64_t s, int64_t h, int64_t d) {
              return h == 3 || (b == 1 && s == 200 && h == 9 && d == 1);
            }),
            "98% of 8193 wrong elements are in head 3");
}

TEST(Signature, NaNIsWrongToo) {
  Census census(DType::kF32);
  const Interval want = {1, 1, 1};
  for (int64_t s = 0; s < 100; ++s) {
    const float got = s == 40 ? std::numeric_limits<float>::quiet_NaN() : 1;
    census.AddRow({0, s, 0, -1}, &got, &want, 1);
  }
  Mask mask;
  mask.Sq = mask.Skv = 100;
  EXPECT_EQ(Signature(census, mask, Side::kQueries), "the wrong element is in token 40");
}

TEST(Breakdown, CountsEveryElementOnce) {
  Census census(DType::kF32);
  const Mask mask = Documents();
  for (int64_t s = 0; s < kS; ++s) {
    float got[kD];
    Interval want[kD];
    for (int64_t d = 0; d < kD; ++d) {
      want[d] = {1, 0, 2};
      got[d] = d == 3 && mask.k_ids[s] == 2 ? 4.0f : 1.5f;
    }
    census.AddRow({0, s, s % 2, 0}, got, want, kD);
  }
  std::string names;
  for (const Breakdown& breakdown : Breakdowns(census, mask, Side::kQueries)) {
    names += breakdown.by + " ";
    int64_t elements = 0, wrong = 0;
    double share = 0;
    for (const Group& group : breakdown.groups) {
      elements += group.elements;
      wrong += group.wrong;
      share = std::max(share, group.share);
    }
    EXPECT_EQ(elements, kS * kD) << breakdown.by;
    EXPECT_EQ(wrong, 128) << breakdown.by;
    EXPECT_EQ(share, breakdown.by == "dimension" ? 0 : 3) << breakdown.by;
    if (breakdown.by == "document") {
      EXPECT_EQ(breakdown.groups[2].wrong, 128);
    }
    if (breakdown.by == "distance") {
      EXPECT_EQ(breakdown.groups[0].elements, 5 * kD) << "the anchor and four starts";
      EXPECT_EQ(breakdown.groups.back().value, 7) << "distances 64 to 127";
    }
  }
  EXPECT_EQ(names, "head query_block document distance dimension ");
}

}  // namespace
}  // namespace bitanchor
