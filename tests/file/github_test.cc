// Workflow commands and the step summary: one line for each wrong output, and no text that could
// add another, a property or markup.
#include "lib/file/github.h"

#include <gtest/gtest.h>

#include <regex>
#include <sstream>
#include <string>
#include <vector>

#include "tests/file/judged.h"

namespace bitanchor::test {
namespace {

std::vector<std::string> Lines(const std::string& text) {
  std::istringstream in(text);
  std::vector<std::string> lines;
  for (std::string line; std::getline(in, line);) lines.push_back(line);
  return lines;
}

TEST(GithubAnnotations, APassNeedsNone) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f})};
  EXPECT_EQ(GithubAnnotations(judged.Get()), "");
}

TEST(GithubAnnotations, OneErrorForEachWrongOutput) {
  Judged judged;
  judged.path = "a,b:c%.safetensors";
  judged.verdict.outputs = {MadeOutput("o", {7}), MadeOutput("lse", {1.5f}),
                            MadeOutput("dq", {kNaN})};
  judged.verdict.causes = {{"heads-mapped", 1, "100% of heads", "map: them, right"}};
  const std::vector<std::string> lines = Lines(GithubAnnotations(judged.Get()));
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_EQ(
      lines[0],
      "::error title=bitanchor%3A o is wrong,file=a%2Cb%3Ac%25.safetensors::8 of 8 elements "
      "outside, judged by contract flash-bf16%0Acause: heads-mapped: 100%25 of heads (explains "
      "100%25 of the sampled elements); map: them, right%0Aworst: [0, 0, 0, 0] got 7 want 1.5, "
      "admissible 1 to 2 (11 times what is allowed)");
  EXPECT_NE(lines[1].find("dq is wrong"), std::string::npos);
}

TEST(GithubAnnotations, InconclusiveIsAnErrorOrAWarning) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f})};
  judged.verdict.cannot_tell = {"first", "second"};
  EXPECT_EQ(
      GithubAnnotations(judged.Get()),
      "::error title=bitanchor%3A inconclusive,file=some/capture.safetensors::first%0Asecond\n");
  judged.allow_inconclusive = true;
  EXPECT_EQ(GithubAnnotations(judged.Get()).rfind("::warning ", 0), 0u);
}

TEST(GithubAnnotations, RuleMode) {
  Judged judged;
  judged.verdict.mode = "rule";
  judged.verdict.outputs = {MadeOutput("o", {7})};
  judged.verdict.rules = {{"no-such-rule", "o", false, 0.1, 0.01, {}},
                          {"allclose", "o", true, 0, 1, {}}};
  EXPECT_EQ(GithubAnnotations(judged.Get()),
            "::error title=bitanchor%3A o breaks "
            "no-such-rule,file=some/capture.safetensors::no-such-rule of o: "
            "measured 0.1, limit 0.01\n");
}

// The runner's own grammar: what it reads is what was meant, and one command a line.
TEST(GithubAnnotations, HostileTextAddsNoCommandAndNoProperty) {
  Judged judged;
  judged.FillWithHostility();
  const std::vector<std::string> lines = Lines(GithubAnnotations(judged.Get()));
  ASSERT_EQ(lines.size(), 2u);
  for (const std::string& line : lines) {
    EXPECT_TRUE(std::regex_match(line, std::regex("::error title=[^,:]*,file=[^,:]*::.*"))) << line;
    for (const unsigned char c : line) EXPECT_TRUE(c >= 0x20 && c != 0x7f);
  }
}

TEST(GithubSummary, SaysWhatMatters) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("q_rope", {1.5f}), MadeOutput("o", {1.5f, 7})};
  const std::string text = GithubSummary(judged.Get());
  EXPECT_EQ(text.front(), '\n');
  EXPECT_EQ(text.back(), '\n');
  for (const char* part : {"### ❌ fail: some\\/capture\\.safetensors", "| ✅ `q_rope` | 8 | 100% |",
                           "| ❌ `o` | 16 | 50% | 0% | 8 | 11 | [0, 0, 0, 1] |",
                           "\n```sh\nbitanchor check 'some/capture.safetensors'\n```\n"}) {
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
  }
}

TEST(GithubSummary, HostileTextStaysText) {
  Judged judged;
  judged.FillWithHostility();
  judged.path += "```` end";
  const std::string text = GithubSummary(judged.Get());
  const size_t code = text.find("`````sh\n");
  ASSERT_NE(code, std::string::npos) << text;
  EXPECT_NE(text.find("\n`````\n", code), std::string::npos);
  const std::string prose = text.substr(0, code);
  EXPECT_EQ(prose.find("<script"), std::string::npos);
  EXPECT_EQ(prose.find("**\\["), std::string::npos);
  EXPECT_NE(prose.find("\\|\\`\\*\\*\\[a\\]\\(b\\)"), std::string::npos) << prose;
  for (const std::string& line : Lines(text)) EXPECT_NE(line.rfind("::error", 0), 0u) << line;
  // In the tables only their own bars count.
  for (const std::string& line : Lines(prose)) {
    if (line.rfind("| ", 0) != 0) continue;
    const std::string bare = std::regex_replace(line, std::regex("\\\\."), "");
    const int bars = static_cast<int>(std::count(bare.begin(), bare.end(), '|'));
    EXPECT_TRUE(bars == 8 || bars == 5) << line;
  }
}

TEST(GithubSummary, NothingJudged) {
  Judged judged;
  const std::string text = GithubSummary(judged.Get());
  EXPECT_NE(text.find("inconclusive"), std::string::npos);
  EXPECT_NE(text.find("no output was judged"), std::string::npos);
}

}  // namespace
}  // namespace bitanchor::test
