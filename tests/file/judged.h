// Judgements made up by hand for the tests of reports: every field filled, hostile text wherever
// text of a user may stand.
#ifndef BITANCHOR_TESTS_FILE_JUDGED_H_
#define BITANCHOR_TESTS_FILE_JUDGED_H_

#include <limits>
#include <string>
#include <vector>

#include "lib/file/report.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {

// What a kernel's text could hold to break out of XML, HTML, Markdown, a log or a terminal.
inline const std::string kHostile =
    "<script>alert(1)</script> \"'&amp; ]]> %0A::error::x |`**[a](b)\n::error::y\r\x1b[31m\x01"
    "\u202e\uffff\xff \U0001F600";

inline constexpr float kInf = std::numeric_limits<float>::infinity();
inline constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// An output of one row for each of S tokens and H heads: `got` against [1, 2] around 1.5.
inline OutputVerdict MadeOutput(const std::string& name, const std::vector<float>& got,
                                int64_t S = 4, int64_t H = 2,
                                Strictness strictness = Strictness::kInterval) {
  OutputVerdict output{name, Census(DType::kBF16, strictness)};
  const int64_t n = static_cast<int64_t>(got.size());
  const Interval interval =
      strictness == Strictness::kBits ? Interval{1.5, 1.5f, 1.5f} : Interval{1.5, 1.0f, 2.0f};
  const std::vector<Interval> intervals(got.size(), interval);
  for (int64_t s = 0; s < S; ++s) {
    for (int64_t h = 0; h < H; ++h)
      output.census.AddRow({0, s, h, name == "lse" ? -1 : 0}, got.data(), intervals.data(), n);
  }
  return output;
}

// A capture of a small problem, its verdict and its judgement, which refers to both.
struct Judged {
  std::string bytes;
  Capture capture;
  Verdict verdict{"contract", "flash-bf16", {}, {}};
  std::string path = "some/capture.safetensors";
  bool allow_inconclusive = false;

  explicit Judged(const TestFile& file = SmallProblem())
      : bytes(file.Build()), capture(ReadBytes(bytes)) {
    capture.kernel = "a kernel";
  }
  Judged(const Judged&) = delete;

  Judgement Get() const {
    return {verdict, capture,
            path,    "bitanchor check '" + path + "'",
            "1.2.3", "2026-01-31T23:59:59",
            1.25,    allow_inconclusive};
  }

  // Everything that a verdict may hold, with hostile text.
  void FillWithHostility() {
    capture.kernel = path = kHostile;
    capture.defaults = {kHostile};
    verdict.outputs = {MadeOutput("q_rope", {1.5f}), MadeOutput("o", {1.5f, 1.25f, 7, kNaN, kInf}),
                       MadeOutput("lse", {-kInf})};
    verdict.outputs[1].biases = {{Witness::kGain,
                                  std::nullopt,
                                  {0.5, std::numeric_limits<double>::infinity(), 0, 40},
                                  {0.02, 0},
                                  true},
                                 {Witness::kScale, 1, {kNaN, 0, 0, 0}, {0.02, 0}, false}};
    verdict.outputs[1].by = {{"document", {{0, 5, 0, 0.5}, {7, 5, 3, kInf}}},
                             {"head", {{0, 5, 0, 0.5}, {1, 5, 3, kInf}}}};
    verdict.not_judged = {"dq (" + kHostile + ")"};
    verdict.inverse_frequencies = {{-1, 2, 3}, {4, -1, 9}};
    verdict.cannot_tell = {kHostile};
    verdict.would_miss = {{"anchor-dropped", true}, {kHostile, false}};
    verdict.rules = {{kHostile, "o", false, kInf, 0.01, {{kHostile, false}}},
                     {"allclose", "lse", true, kNaN, 0.01, {}}};
    verdict.causes = {{"anchor-dropped", 1, kHostile, kHostile}, {kHostile, 0.25, "says", ""}};
    verdict.signatures = {kHostile};
  }
};

}  // namespace bitanchor::test

#endif  // BITANCHOR_TESTS_FILE_JUDGED_H_
