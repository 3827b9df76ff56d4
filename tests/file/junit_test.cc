// JUnit XML: who fails, who errs, who is skipped, and that no text can break it. That it is XML and
// keeps the schema is tests/python/reports_test.py's matter.
#include "lib/file/junit.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/file/judged.h"

namespace bitanchor::test {
namespace {

int Count(const std::string& text, const std::string& part) {
  int count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

void ExpectTotals(const std::string& xml, int tests, int failures, int errors, int skipped) {
  EXPECT_EQ(Count(xml, "<testcase "), tests) << xml;
  EXPECT_EQ(Count(xml, "<failure "), failures) << xml;
  EXPECT_EQ(Count(xml, "<error "), errors) << xml;
  EXPECT_EQ(Count(xml, "<skipped "), skipped) << xml;
  const std::string totals = fmt::format(R"(tests="{}" failures="{}" errors="{}" skipped="{}")",
                                         tests, failures, errors, skipped);
  EXPECT_EQ(Count(xml, totals), 1) << xml;
}

TEST(Junit, APassHasOneCaseForEachOutput) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f, 1.25f}), MadeOutput("lse", {1.5f})};
  const std::string xml = JunitReport(judged.Get());
  ExpectTotals(xml, 2, 0, 0, 0);
  EXPECT_EQ(Count(xml, "name=\"o\" time=\"0\"/>"), 1);
  for (const char* property :
       {"name=\"judged_by\" value=\"contract flash-bf16\"", "name=\"version\" value=\"1.2.3\"",
        "name=\"problem\" value=\"BF16 B 1 Sq 4 Skv 4 Hq 2 Hkv 1 D 8, mask full, causal\"",
        "name=\"verdict\" value=\"pass\"", "timestamp=\"2026-01-31T23:59:59\"", "time=\"1.250\""}) {
    EXPECT_EQ(Count(xml, property), 1) << property;
  }
}

TEST(Junit, AFailureSaysCountsCauseAndWorst) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f, 7, kNaN}), MadeOutput("lse", {1.5f})};
  judged.verdict.causes = {{"anchor-dropped", 0.75, "The anchor is not seen", "See it"}};
  judged.verdict.not_judged = {"dq (not in the capture)"};
  const std::string xml = JunitReport(judged.Get());
  ExpectTotals(xml, 3, 1, 0, 1);
  EXPECT_NE(xml.find("8 of 24 elements outside, 8 wrongly (not) finite; cause: anchor-dropped: The "
                     "anchor is not seen (explains 75% of the sampled elements); See it; worst: "
                     "[0, 0, 0, 2] got nan want 1.5, admissible 1 to 2\""),
            std::string::npos)
      << xml;
}

TEST(Junit, ABiasAloneFails) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f})};
  judged.verdict.outputs[0].biases = {{Witness::kGain, 3, {0.5, 721, 0, 40}, {0.02, 0}, true}};
  const std::string xml = JunitReport(judged.Get());
  ExpectTotals(xml, 1, 1, 0, 0);
  EXPECT_NE(xml.find("biased, gain of head 3: +0.5 u (+721.0 sigma; allowed 0.02 u)"),
            std::string::npos);
}

TEST(Junit, InconclusiveIsAnErrorOrSkippedWhereAllowed) {
  Judged judged;
  judged.verdict.outputs = {MadeOutput("o", {1.5f}), MadeOutput("lse", {1.5f})};
  judged.verdict.cannot_tell = {"all keys have the same v"};
  ExpectTotals(JunitReport(judged.Get()), 2, 0, 2, 0);
  EXPECT_NE(JunitReport(judged.Get()).find("message=\"all keys have the same v\""),
            std::string::npos);
  judged.allow_inconclusive = true;
  ExpectTotals(JunitReport(judged.Get()), 2, 0, 0, 2);
}

TEST(Junit, NothingJudgedIsNoPass) {
  Judged judged;
  const std::string xml = JunitReport(judged.Get());
  ExpectTotals(xml, 1, 0, 1, 0);
  EXPECT_NE(xml.find("message=\"no output was judged\""), std::string::npos) << xml;
}

TEST(Junit, RulesAloneDecideInRuleMode) {
  Judged judged;
  judged.verdict.mode = "rule";
  judged.verdict.outputs = {MadeOutput("o", {7})};
  judged.verdict.rules = {{"allclose", "o", true, 0.001, 0.01, {}},
                          {"no-such-rule", "o", false, 0.1, 0.01, {}}};
  const std::string xml = JunitReport(judged.Get());
  ExpectTotals(xml, 2, 1, 0, 0);
  EXPECT_NE(xml.find("message=\"no-such-rule of o: measured 0.1, limit 0.01\""), std::string::npos)
      << xml;
  judged.verdict.mode = "contract";
  ExpectTotals(JunitReport(judged.Get()), 1, 1, 0, 0);
}

TEST(Junit, IndicesFollowTheLayout) {
  Judged judged;
  judged.capture.layout = Layout::kTHD;
  judged.verdict.outputs = {MadeOutput("o", {7}), MadeOutput("lse", {7})};
  const std::string xml = JunitReport(judged.Get());
  EXPECT_NE(xml.find("worst: [0, 0, 0] got"), std::string::npos) << xml;
  EXPECT_NE(xml.find("worst: [0, 0] got"), std::string::npos) << xml;
}

TEST(Junit, HostileTextStaysText) {
  Judged judged;
  judged.FillWithHostility();
  const std::string xml = JunitReport(judged.Get());
  EXPECT_EQ(Count(xml, "<script"), 0);
  EXPECT_EQ(Count(xml, "]]>"), 0);
  EXPECT_GT(Count(xml, "&lt;script&gt;"), 5);
  for (const unsigned char c : xml) EXPECT_TRUE(c >= 0x20 || c == '\n');
  ExpectTotals(xml, 4, 2, 0, 1);
}

}  // namespace
}  // namespace bitanchor::test
