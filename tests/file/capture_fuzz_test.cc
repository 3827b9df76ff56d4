// Valid captures, damaged at random: whatever comes, a capture or an InputError, nothing else. What
// is accepted is read through, so that a sanitizer sees a view that reaches too far.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <sstream>
#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

std::vector<std::string> Seeds() {
  TestFile anchor = SmallProblem(1, 3, 4, 2, 1, 4);
  anchor.tensors["o"] = CountBF16({1, 3, 2, 4}, 0x3c00);
  anchor.tensors["lse"] = CountF32({1, 2, 3}, 0);
  anchor.tensors["document_ids"] = I32({1, 4}, {0, 1, 1, 2});
  anchor.tensors["position_ids"] = I64({1, 4}, {0, 1, 2, 3});
  anchor.tensors["cos"] = CountF32({9, 2}, 0);
  anchor.tensors["sin"] = CountF32({9, 2}, 0);
  anchor.metadata = R"({"version": 1, "kernel": "k", "layout": "bshd",
      "mask": {"rule": "anchor", "causal": true, "window_keys": 2, "corner": "top-left"},
      "softmax_scale": 0.5, "lse": {"base": "2", "scaled": true, "empty": -1e9},
      "rope": {"recipe": "hf-llama", "pairing": "half", "rope_theta": 1e4, "rope_scaling":
               {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1,
                "high_freq_factor": 4, "original_max_position_embeddings": 8192}}})";
  TestFile thd;
  thd.tensors["q"] = CountBF16({4, 2, 4}, 0x3f00);
  thd.tensors["k"] = CountBF16({4, 2, 4}, 0x3e00);
  thd.tensors["v"] = CountBF16({4, 2, 4}, 0x3d00);
  thd.tensors["do"] = CountF32({4, 2, 4}, 0);
  thd.tensors["dk"] = CountBF16({4, 2, 4}, 0x3d00);
  thd.tensors["cu_seqlens"] = I32({4}, {0, 1, 1, 4});
  thd.metadata = R"({"layout":"thd","mask":{"rule":"document"}})";
  TestFile bare = SmallProblem(1, 2, 2, 1, 1, 2);
  return {anchor.Build(), thd.Build(), bare.Build()};
}

class Damage {
 public:
  Damage(uint64_t seed, const std::vector<std::string>& seeds) : random_(seed), seeds_(seeds) {
    std::istringstream words(
        R"(- -1 0 1e999 NaN null true {} [] " \ \ud800 , {" [[[[[[[[ thd bhsd yarn F16 I64)"
        R"( 9223372036854775807 18446744073709551616 4294967296,4294967296 "dtype":"F32",)");
    for (std::string word; words >> word;) words_.push_back(word);
  }

  std::string Next() {
    std::string bytes = seeds_[Below(seeds_.size())];
    for (size_t blows = 1 + Below(4); blows > 0 && !bytes.empty(); --blows) Strike(bytes);
    // Mostly with a length that fits, or else nothing but the length would ever be tested.
    if (bytes.size() >= 8 && Below(4) != 0) {
      const size_t end = bytes.rfind('}');
      if (end != bytes.npos && end >= 8) bytes.replace(0, 8, LittleU64(end + 1 - 8));
    }
    return bytes;
  }

 private:
  size_t Below(size_t n) { return static_cast<size_t>(random_() % n); }

  void Strike(std::string& bytes) {
    const size_t at = Below(bytes.size());
    const size_t length = std::min(bytes.size() - at, 1 + Below(12));
    const size_t from = Below(bytes.size());
    switch (Below(7)) {
      case 0:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << Below(8)));
        break;
      case 1:
        bytes[at] = static_cast<char>(Below(256));
        break;
      case 2:
        bytes.erase(at, length);
        break;
      case 3:
        bytes.insert(at, bytes.substr(from, length));
        break;
      case 4:
        bytes.replace(at, length, bytes.substr(from, length));
        break;
      case 5:
        bytes.insert(at, words_[Below(words_.size())]);
        break;
      default: {  // a digit for a digit keeps the syntax and changes the meaning
        const size_t digit = bytes.find_first_of("0123456789", at);
        if (digit != bytes.npos) bytes[digit] = static_cast<char>('0' + Below(10));
      }
    }
  }

  std::mt19937_64 random_;
  const std::vector<std::string>& seeds_;
  std::vector<std::string> words_;  // what breaks parsers
};

void ReadThrough(const TensorView& view, double& sum) {
  if (!view) return;
  const auto [B, S, H, D] = view.shape;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t d = 0; d < D; ++d) sum += view.At(b, s, h, d);
      }
    }
  }
}

double ReadThrough(const Capture& capture) {
  double sum = 0;
  const AttentionProblem& problem = capture.problem;
  for (const TensorView& view :
       {problem.q, problem.k, problem.v, capture.o, capture.q_rope, capture.k_rope, capture.dout,
        capture.dq, capture.dk, capture.dv}) {
    ReadThrough(view, sum);
  }
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  if (capture.lse) sum += capture.lse.At(B - 1, Hq - 1, Sq - 1);
  for (int64_t i = 0; i < Sq; ++i) {
    for (int64_t j = 0; j < Skv; ++j) sum += problem.mask.Visible(B - 1, i, j);
  }
  return sum;
}

TEST(CaptureFuzz, OnlyInputErrorsLeave) {
  constexpr int kCases = 20'000;
  const std::vector<std::string> seeds = Seeds();
  for (const std::string& seed : seeds) ASSERT_EQ(RefusalOf(seed), "");
  Damage damage(20260, seeds);
  int accepted = 0;
  double sum = 0;
  for (int n = 0; n < kCases; ++n) {
    const std::string bytes = damage.Next();
    // A block of exactly this size, so that a sanitizer sees one byte too many.
    const std::vector<std::byte> block(AsBytes(bytes).begin(), AsBytes(bytes).end());
    const std::string refusal = Refusal([&] {
      sum += ReadThrough(ReadCapture(SafetensorsFile::Parse(block, "memory")));
      ++accepted;
    });
    if (HasFailure()) FAIL() << "case " << n << ": " << refusal;
  }
  // The damage must be neither harmless nor always fatal to the outermost layer.
  EXPECT_GT(accepted, kCases / 100);
  EXPECT_LT(accepted, kCases * 3 / 4);
  EXPECT_TRUE(sum != 0);  // the elements were read
}

}  // namespace
}  // namespace bitanchor::test
