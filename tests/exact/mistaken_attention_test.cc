// Each mistaken kernel against attention written out here once more: which keys, how often, whose
// values, which heads, what scale, for each mistake by hand.
#include "lib/exact/mistaken_attention.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <map>
#include <set>

#include "lib/exact/attention_interval.h"
#include "lib/exact/attention_mistakes.h"
#include "lib/recipe/contract.h"
#include "lib/recipe/mistake.h"
#include "tests/support/random_problem.h"

namespace bitanchor {
namespace {

using exact::MistakenAttention;
using testing::MakeProblem;
using testing::OwnedProblem;
using testing::Values;

constexpr int64_t kS = 150, kHq = 4, kHkv = 2, kD = 8;

// A kernel as a test writes it: everything as the problem says unless it is replaced.
struct ByHand {
  explicit ByHand(const AttentionProblem& problem) : p(problem), scale(problem.softmax_scale) {}

  const AttentionProblem& p;
  double scale;
  std::function<bool(int64_t b, int64_t i, int64_t j)> sees =
      [this](int64_t b, int64_t i, int64_t j) { return Inside(i, j, 0) && Related(b, i, j, true); };
  std::function<int64_t(int64_t b, int64_t i, int64_t j)> count = [](int64_t, int64_t, int64_t) {
    return 1;
  };
  std::function<int64_t(int64_t j)> key = [](int64_t j) { return j; };
  std::function<int64_t(int64_t j)> value = [](int64_t j) { return j; };
  std::function<int64_t(int64_t h)> key_head = [](int64_t h) { return h / (kHq / kHkv); };
  std::function<int64_t(int64_t h)> answers = [](int64_t h) { return h; };
  std::function<double(double p)> weight = [](double w) { return w; };

  bool Inside(int64_t i, int64_t j, int64_t shift) const {
    const MaskSpec& spec = p.mask.spec;
    if (spec.causal && j > i + shift) return false;
    return !spec.window_keys || i - j < *spec.window_keys;
  }
  bool Related(int64_t b, int64_t i, int64_t j, bool anchor) const {
    const int64_t id = p.mask.k_ids[b * kS + j];
    return id == p.mask.q_ids[b * kS + i] || (anchor && id == 0);
  }

  std::vector<double> Answer(int64_t b, int64_t h, int64_t i, double& lse) const {
    h = answers(h);
    std::vector<double> o(kD);
    double l = 0;
    for (int64_t j = 0; j < kS; ++j) {
      if (!sees(b, i, j)) continue;
      double s = 0;
      for (int64_t d = 0; d < kD; ++d)
        s += static_cast<double>(p.q.At(b, i, h, d)) * p.k.At(b, key(j), key_head(h), d);
      // Scores are small here: no maximum is subtracted.
      const double w = static_cast<double>(count(b, i, j)) * std::exp(s * scale);
      l += w;
      for (int64_t d = 0; d < kD; ++d) o[d] += weight(w) * p.v.At(b, value(j), key_head(h), d);
    }
    for (double& x : o) x = l == 0 ? 0 : x / l;
    lse = std::log(l);
    return o;
  }
};

int64_t Modulo(int64_t x, int64_t n) { return (x % n + n) % n; }

using Expected = std::map<std::string, std::function<void(ByHand&)>>;

// By id and place.
Expected MaskMistakes() {
  Expected all;
  all["causal-ignored "] = [](ByHand& k) {
    k.sees = [&k](int64_t b, int64_t i, int64_t j) {
      return i - j < k.p.mask.spec.window_keys.value_or(kS) && k.Related(b, i, j, true);
    };
  };
  for (const int64_t by : {-1, 1}) {
    all[std::string("causal-shifted query i sees keys up to i ") + (by < 0 ? "- 1" : "+ 1")] =
        [by](ByHand& k) {
          k.sees = [&k, by](int64_t b, int64_t i, int64_t j) {
            return k.Inside(i, j, by) && k.Related(b, i, j, true);
          };
        };
  }
  all["documents-ignored "] = [](ByHand& k) {
    k.sees = [&k](int64_t, int64_t i, int64_t j) { return k.Inside(i, j, 0); };
  };
  all["anchor-dropped "] = [](ByHand& k) {
    k.sees = [&k](int64_t b, int64_t i, int64_t j) {
      return k.Inside(i, j, 0) && k.Related(b, i, j, false);
    };
  };
  const auto window = [](int64_t keys) {
    return [keys](ByHand& k) {
      k.sees = [&k, keys](int64_t b, int64_t i, int64_t j) {
        return j <= i && i - j < keys && k.Related(b, i, j, true);
      };
    };
  };
  all["window-applied of 75 keys"] = window(75);
  all["window-ignored "] = window(kS);
  all["window-shifted +1 keys"] = window(22);
  all["window-shifted -1 keys"] = window(20);
  // Documents of 37 tokens (in batch b those of ids 1 + (j + b) / 37): token 0 is the anchor.
  for (const int64_t by : {-1, 1}) {
    all[std::string("boundary-shifted all by ") + (by < 0 ? "-1" : "+1")] = [by](ByHand& k) {
      k.sees = [&k, by](int64_t b, int64_t i, int64_t j) {
        const auto document = [&](int64_t s) { return std::max<int64_t>(s - by + b, 0) / 37; };
        return k.Inside(i, j, 0) && (j == 0 || (i > 0 && document(i) == document(j)));
      };
    };
  }
  return all;
}

Expected OtherMistakes() {
  Expected all;
  const auto scale = [&](const std::string& name, double value) {
    all[name] = [value](ByHand& k) { k.scale = static_cast<float>(value); };
  };
  const double sqrt_d = std::sqrt(static_cast<double>(kD)), usual = 1.0f / std::sqrt(8.0f);
  scale("scale-missing ", 1);
  scale("scale-wrong 1/D", 1.0 / kD);
  scale("scale-wrong 1/sqrt(2 D)", 0.25);
  scale("scale-wrong sqrt(D)", sqrt_d);
  scale("scale-wrong the scale, applied twice", usual * usual);
  scale("scale-wrong the scale without log2(e) for exp2", usual * std::log(2.0));
  scale("scale-wrong the scale with log2(e) once too often", usual / std::log(2.0));
  const auto key_heads = [&](const std::string& where, std::vector<int64_t> heads) {
    all["heads-mapped " + where] = [heads](ByHand& k) {
      k.key_head = [heads](int64_t h) { return heads[h]; };
    };
  };
  key_heads("query head h reads key head h mod Hkv", {0, 1, 0, 1});
  key_heads("every query head reads key head 0", {0, 0, 0, 0});
  key_heads("query heads read the next key head", {1, 1, 0, 0});
  const auto answers = [&](const std::string& where, std::vector<int64_t> heads) {
    all["heads-permuted " + where] = [heads](ByHand& k) {
      k.answers = [heads](int64_t h) { return heads[h]; };
    };
  };
  answers("heads in reverse order", {3, 2, 1, 0});
  answers("each head holds the next one's answer", {1, 2, 3, 0});
  answers("each head holds the one before's answer", {3, 0, 1, 2});
  answers("(Hkv, Hq/Hkv) written as (Hq/Hkv, Hkv)", {0, 2, 1, 3});
  answers("(Hq/Hkv, Hkv) written as (Hkv, Hq/Hkv)", {0, 2, 1, 3});
  for (const int64_t by : {1, -1}) {
    all[std::string("values-shifted key j takes the value of token j ") +
        (by > 0 ? "- 1" : "+ 1")] = [by](ByHand& k) {
      k.value = [by](int64_t j) { return Modulo(j - by, kS); };
    };
  }
  const auto in_block = [](int64_t j) { return 64 <= j && j < 128; };
  const auto counted = [&](const std::string& name, int64_t times, const auto& holds) {
    all[name] = [times, holds](ByHand& k) {
      k.count = [times, holds](int64_t, int64_t, int64_t j) { return holds(j) ? times : 1; };
    };
  };
  counted("block-skipped keys 64..127", 0, in_block);
  counted("block-repeated keys 64..127", 2, in_block);
  counted("anchor-twice by every query", 2, [](int64_t j) { return j == 0; });
  all["anchor-twice by the queries of documents"] = [](ByHand& k) {
    k.count = [](int64_t, int64_t i, int64_t j) { return i > 0 && j == 0 ? 2 : 1; };
  };
  counted("tile-key-dropped the last of every tile of 64", 0,
          [](int64_t j) { return j == 63 || j == 127; });
  counted("tile-key-dropped the last, a partial one's too, of every tile of 64", 0,
          [](int64_t j) { return j == 63 || j == 127 || j == 149; });
  counted("tile-key-dropped the first of every tile of 64", 0,
          [](int64_t j) { return j == 0 || j == 64 || j == 128; });
  const auto before = [in_block](int64_t j) { return in_block(j) ? j - 64 : j; };
  all["stale-tile V of keys 64..127"] = [before](ByHand& k) { k.value = before; };
  all["stale-tile K of keys 64..127"] = [before](ByHand& k) { k.key = before; };
  all["key-block-wrong keys 64..127"] = [before](ByHand& k) { k.key = k.value = before; };
  return all;
}

exact::RightAttention Right(const OwnedProblem& owned, DType o_dtype = DType::kF32) {
  return std::make_shared<const IntervalProblem>(IntervalProblem{owned.problem, {}, {}, o_dtype});
}

class Mistaken : public ::testing::TestWithParam<std::optional<int64_t>> {};

TEST_P(Mistaken, AnswersAsWrittenByHand) {
  const OwnedProblem owned =
      MakeProblem({2, kS, kS, kHq, kHkv, kD}, DType::kF32,
                  {MaskRule::kAnchor, true, GetParam(), Corner::kTopLeft}, Values::kNormal, 3);
  Expected expected = MaskMistakes();
  expected.merge(OtherMistakes());
  std::set<std::string> met;
  exact::GatheredRow row;
  for (const MistakenAttention& kernel : exact::AttentionMistakes(Right(owned), false)) {
    const auto found = expected.find(kernel.id + " " + kernel.where);
    if (found == expected.end()) continue;
    met.insert(found->first);
    ByHand by_hand(owned.problem);
    found->second(by_hand);
    for (const int64_t i : {0, 1, 36, 37, 38, 73, 74, 127, 128, 149}) {
      for (int64_t h = 0; h < kHq; ++h) {
        double lse = 0;
        const std::vector<double> want = by_hand.Answer(i % 2, h, i, lse);
        const exact::StoredRow got = exact::Stored(kernel, {i % 2, h, i}, row);
        for (int64_t d = 0; d < kD; ++d)
          ASSERT_NEAR(got.o[d], want[d], 3e-7) << found->first << ", row " << i << ", head " << h;
        if (std::isinf(lse)) {
          ASSERT_EQ(got.lse, lse) << found->first;
        } else {
          ASSERT_NEAR(got.lse, lse, 1e-6) << found->first << ", row " << i;
        }
      }
    }
  }
  for (const auto& [name, unused] : expected) {
    const bool window = name.find("window-applied") == std::string::npos;
    if (name.find("window-") == 0 && window != GetParam().has_value()) continue;
    EXPECT_TRUE(met.contains(name)) << name << ": nobody made it";
  }
}
INSTANTIATE_TEST_SUITE_P(WithAndWithoutWindow, Mistaken,
                         ::testing::Values(std::optional<int64_t>{}, std::optional<int64_t>{21}));

TEST(MistakenAttention, EveryMistakeIsInTheTable) {
  for (const MaskRule rule : {MaskRule::kFull, MaskRule::kAnchor}) {
    for (const bool causal : {false, true}) {
      const OwnedProblem owned =
          MakeProblem({1, 70, 90, 2, 2, 4}, DType::kF32,
                      {rule, causal, std::nullopt, Corner::kBottomRight}, Values::kNormal, 5);
      for (const MistakenAttention& kernel : exact::AttentionMistakes(Right(owned), true))
        EXPECT_NE(FindMistake(kernel.id), nullptr) << kernel.id;
    }
  }
  EXPECT_EQ(MistakeRank("no such mistake"), static_cast<int64_t>(Mistakes().size()));
  std::set<std::string_view> ids;
  for (const Mistake& mistake : Mistakes()) {
    EXPECT_TRUE(ids.insert(mistake.id).second) << mistake.id;
    EXPECT_FALSE(mistake.says.empty() || mistake.fix.empty()) << mistake.id;
  }
  EXPECT_EQ(Mistakes().back().id, "unknown");
}

// A block's keys that lie in another tensor, as those exchanged before RoPE do: V for one.
TEST(MistakenAttention, MovedKeysOfTheirOwn) {
  const OwnedProblem owned =
      MakeProblem({1, 12, 12, 2, 1, 4}, DType::kF32, {}, Values::kNormal, 11);
  OwnedProblem other = MakeProblem({1, 12, 12, 2, 1, 4}, DType::kF32, {}, Values::kNormal, 11);
  for (const int64_t j : {4, 5, 6, 7}) {
    for (int64_t d = 0; d < 4; ++d) {
      StoreRounded(DType::kF32, other.Element(other.k, other.problem.k, 0, j, 0, d),
                   owned.problem.v.At(0, j, 0, d));
      StoreRounded(DType::kF32, other.Element(other.v, other.problem.v, 0, j, 0, d),
                   owned.problem.v.At(0, j - 4, 0, d));
    }
  }
  const MistakenAttention kernel =
      exact::WithBlock(Right(owned), exact::BlockMistake::kWrongBlock, 4, {4, 8}, owned.problem.v);
  EXPECT_EQ(kernel.where, "keys 4..7, before RoPE");
  const MistakenAttention want = exact::Mistaken(Right(other), "");
  exact::GatheredRow row;
  for (int64_t i = 0; i < 12; ++i) {
    const exact::StoredRow got = exact::Stored(kernel, {0, 1, i}, row);
    const exact::StoredRow expected = exact::Stored(want, {0, 1, i}, row);
    EXPECT_EQ(got.o, expected.o) << "row " << i;
    EXPECT_EQ(got.lse, expected.lse) << "row " << i;
  }
}

// 129 keys: the last tile of 64 has one; 64 keys: no tile ends before them.
TEST(MistakenAttention, TilesThatDropAKey) {
  const auto kernels = [](int64_t Skv) {
    const OwnedProblem owned = MakeProblem({1, 1, Skv, 1, 1, 4}, DType::kF32,
                                           {MaskRule::kFull, false}, Values::kNormal, 1);
    std::vector<int64_t> left;  // by kernel
    exact::GatheredRow row;
    for (const MistakenAttention& kernel : exact::WithTileKeyDropped(Right(owned), 64)) {
      exact::Gather(kernel, {0, 0, 0}, row);
      left.push_back(row.n);
    }
    return left;
  };
  EXPECT_EQ(kernels(64), (std::vector<int64_t>{}));
  EXPECT_EQ(kernels(65), (std::vector<int64_t>{64, 63, 63}));
  EXPECT_EQ(kernels(128), (std::vector<int64_t>{126, 126}));
  EXPECT_EQ(kernels(129), (std::vector<int64_t>{127, 126, 126}));
}

MistakenAttention Only(const exact::RightAttention& right, const std::string& id,
                       const std::string& where) {
  for (const MistakenAttention& kernel : exact::AttentionMistakes(right, true)) {
    if (kernel.id == id && (where.empty() || kernel.where == where)) return kernel;
  }
  ADD_FAILURE() << "no " << id << " " << where;
  return {};
}

// o of a kernel that wrote [H, S, D] where [S, H, D] is read, through the very memory.
TEST(MistakenAttention, TransposedOutput) {
  const OwnedProblem owned = MakeProblem({1, 6, 6, 2, 2, 4}, DType::kF32, {}, Values::kNormal, 7);
  MistakenAttention none;
  none.attention = Right(owned);
  exact::GatheredRow row;
  std::vector<float> heads_first;
  for (int64_t h = 0; h < 2; ++h) {
    for (int64_t i = 0; i < 6; ++i) {
      const auto o = exact::Stored(none, {0, h, i}, row).o;
      heads_first.insert(heads_first.end(), o.begin(), o.end());
    }
  }
  const MistakenAttention kernel =
      Only(none.attention, "layout-transposed", "written as bhsd, read as bshd");
  size_t at = 0;
  for (int64_t i = 0; i < 6; ++i) {
    for (int64_t h = 0; h < 2; ++h) {
      for (const float got : exact::Stored(kernel, {0, h, i}, row).o)
        ASSERT_EQ(got, heads_first[at++]);
      ASSERT_EQ(exact::Stored(kernel, {0, h, i}, row).lse, exact::Stored(none, {0, h, i}, row).lse);
    }
  }
}

TEST(MistakenAttention, Corner) {
  const MaskSpec spec{MaskRule::kFull, true, std::nullopt, Corner::kTopLeft};
  const OwnedProblem owned = MakeProblem({1, 3, 5, 1, 1, 4}, DType::kF32, spec, Values::kNormal, 9);
  OwnedProblem other = owned;
  other.problem.mask.spec.corner = Corner::kBottomRight;
  MistakenAttention none;
  none.attention = Right(other);
  exact::GatheredRow row;
  const MistakenAttention kernel = Only(Right(owned), "corner-swapped", "");
  for (int64_t i = 0; i < 3; ++i)
    EXPECT_EQ(exact::Stored(kernel, {0, 0, i}, row).o, exact::Stored(none, {0, 0, i}, row).o);
}

// Weights of 1, and of 1 - 2^-9 + a little: truncated to bf16 it is 1 - 2^-8, rounded 1 - 2^-9's
// neighbour.
TEST(MistakenAttention, RoundedAndTruncatedWeights) {
  const float v[2] = {0, 1}, one = 1;
  float k[2] = {0, std::log(1 - 0x1.8p-9f)};
  IntervalProblem p;
  p.problem.shape = {1, 1, 2, 1, 1, 1};
  const auto view = [](const float* x, int64_t n) {
    return DenseView<const std::byte>(DType::kF32, reinterpret_cast<const std::byte*>(x),
                                      {1, n, 1, 1});
  };
  p.problem.q = view(&one, 1);
  p.problem.k = view(k, 2);
  p.problem.v = view(v, 2);
  p.problem.mask = {{MaskRule::kFull, false}, 1, 1, 2, {}, {}};
  p.problem.softmax_scale = 1;
  const auto right = std::make_shared<const IntervalProblem>(p);
  exact::GatheredRow row;
  const double l = 2 - 0x1.8p-9;
  EXPECT_NEAR(exact::Stored(Only(right, "weights-truncated", "to BF16"), {0, 0, 0}, row).o[0],
              (1 - 0x1p-8) / l, 1e-7);
  EXPECT_NEAR(exact::Stored(Only(right, "weights-rounded", "to BF16"), {0, 0, 0}, row).o[0],
              (1 - 0x1p-8) / l, 1e-7);
  k[1] = std::log(1 - 0x0.8p-9f);
  EXPECT_NEAR(exact::Stored(Only(right, "weights-truncated", "to BF16"), {0, 0, 0}, row).o[0],
              (1 - 0x1p-8) / (2 - 0x0.8p-9), 1e-7);
  EXPECT_NEAR(exact::Stored(Only(right, "weights-rounded", "to BF16"), {0, 0, 0}, row).o[0],
              1 / (2 - 0x0.8p-9), 1e-7);
}

// The intervals of a kernel without a mistake are those of AttentionIntervals but for what the
// number of runs of keys adds.
TEST(MistakenAttention, IntervalsOfARightRow) {
  const OwnedProblem owned =
      MakeProblem({1, 40, 40, 2, 1, 8}, DType::kBF16, {}, Values::kNormal, 1);
  MistakenAttention none;
  none.attention = Right(owned, DType::kBF16);
  exact::GatheredRow row;
  const Contract& contract = DefaultContract(DType::kBF16);
  IntervalBlock got, want;
  for (const int64_t i : {0, 1, 39}) {
    exact::Gather(none, {0, 1, i}, row);
    exact::MistakenIntervals(row, contract, got);
    exact::AttentionIntervals(*none.attention, contract, 0, 1, i, 1, want);
    for (int64_t d = 0; d < 8; ++d) {
      EXPECT_EQ(got.o[d].want, want.o[d].want);
      EXPECT_EQ(got.o[d].low, want.o[d].low);
      EXPECT_EQ(got.o[d].high, want.o[d].high);
    }
    EXPECT_EQ(got.lse[0].low, want.lse[0].low);
    EXPECT_EQ(got.lse[0].high, want.lse[0].high);
  }
}

// A row that sees nothing: zero and -inf; NaN among visible scores: NaN.
TEST(MistakenAttention, SpecialRows) {
  OwnedProblem owned = MakeProblem({1, 2, 2, 1, 1, 4}, DType::kF32, {}, Values::kNormal, 1);
  MistakenAttention kernel = Only(Right(owned), "causal-shifted", "query i sees keys up to i - 1");
  exact::GatheredRow row;
  exact::StoredRow stored = exact::Stored(kernel, {0, 0, 0}, row);
  EXPECT_EQ(stored.o, std::vector<float>(4));
  EXPECT_EQ(stored.lse, -std::numeric_limits<float>::infinity());
  StoreRounded(DType::kF32, owned.Element(owned.k, owned.problem.k, 0, 0, 0, 1),
               std::numeric_limits<float>::quiet_NaN());
  stored = exact::Stored(kernel, {0, 0, 1}, row);
  EXPECT_TRUE(std::isnan(stored.o[2]));
  EXPECT_TRUE(std::isnan(stored.lse));
}

}  // namespace
}  // namespace bitanchor
