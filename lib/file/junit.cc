#include "lib/file/junit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <vector>

#include "lib/file/markup.h"
#include "lib/file/report_text.h"

namespace bitanchor {
namespace {

enum class Ending { kPassed, kFailed, kInconclusive, kSkipped };

struct TestCase {
  std::string name;
  Ending ending = Ending::kPassed;
  std::string message = {};  // one line
  std::string text = {};     // more lines
};

std::string Joined(const std::vector<std::string>& lines, const char* separator) {
  return fmt::format("{}", fmt::join(lines, separator));
}

// What an output that did not fail is worth.
Ending NotFailed(const Judgement& judgement) {
  if (judgement.verdict.Result() != Outcome::kInconclusive) return Ending::kPassed;
  return judgement.allow_inconclusive ? Ending::kSkipped : Ending::kInconclusive;
}

TestCase OutputCase(const OutputVerdict& output, const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  const std::vector<WorstElement>& worst = output.census.worst;
  if (!output.Failed()) {
    const Ending ending = NotFailed(judgement);
    if (ending == Ending::kPassed) return {output.name};
    return {output.name, ending, Joined(InconclusiveBecause(verdict), "; ")};
  }
  TestCase failed{output.name, Ending::kFailed, Counts(output)};
  if (!verdict.causes.empty()) failed.message += "; cause: " + CauseText(verdict.causes.front());
  if (!worst.empty())
    failed.message += "; worst: " + WorstText(worst.front(), judgement.capture.layout);
  for (const WorstElement& element : worst)
    failed.text += Legible(WorstText(element, judgement.capture.layout)) + "\n";
  for (const Cause& cause : verdict.causes)
    failed.text += "cause: " + Legible(CauseText(cause)) + "\n";
  for (const std::string& signature : verdict.signatures)
    failed.text += "where: " + Legible(signature) + "\n";
  return failed;
}

TestCase RuleCase(const RuleVerdict& rule, const Judgement& judgement) {
  const std::string name = rule.output + " by " + rule.name;
  if (!rule.passes) return {name, Ending::kFailed, RuleText(rule)};
  const Ending ending = NotFailed(judgement);
  if (ending == Ending::kPassed) return {name};
  return {name, ending, Joined(InconclusiveBecause(judgement.verdict), "; ")};
}

std::vector<TestCase> TestCases(const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  std::vector<TestCase> cases;
  if (verdict.mode == "rule") {
    for (const RuleVerdict& rule : verdict.rules) cases.push_back(RuleCase(rule, judgement));
  } else {
    for (const OutputVerdict& output : verdict.outputs)
      cases.push_back(OutputCase(output, judgement));
  }
  if (cases.empty()) {
    cases.push_back({"verdict", NotFailed(judgement), Joined(InconclusiveBecause(verdict), "; ")});
  }
  for (const std::string& absent : verdict.not_judged) {
    cases.push_back({absent.substr(0, absent.find(' ')), Ending::kSkipped, absent});
  }
  return cases;
}

// An element of the lines' text; the lines are legible each.
std::string Element(const std::string& tag, const std::string& text) {
  std::string body;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    body += MarkupEscaped(text.substr(begin, end - begin)) + "\n";
    begin = end == std::string::npos ? text.size() : end + 1;
  }
  return fmt::format("<{0}>{1}</{0}>", tag, body);
}

std::string CaseXml(const TestCase& test, const std::string& classname) {
  const std::string open = fmt::format(R"(    <testcase classname="{}" name="{}" time="0")",
                                       MarkupEscaped(classname), MarkupEscaped(test.name));
  const std::string message = MarkupEscaped(test.message);
  switch (test.ending) {
    case Ending::kPassed:
      return open + "/>\n";
    case Ending::kSkipped:
      return fmt::format("{}>\n      <skipped message=\"{}\"/>\n    </testcase>\n", open, message);
    case Ending::kInconclusive:
      return fmt::format(
          "{}>\n      <error type=\"inconclusive\" message=\"{}\"/>\n    </testcase>\n", open,
          message);
    case Ending::kFailed:
      break;
  }
  std::string failure = Element("failure", test.text);
  failure.insert(failure.find('>'), fmt::format(R"( type="wrong" message="{}")", message));
  return fmt::format("{}>\n      {}\n    </testcase>\n", open, failure);
}

std::string PropertyXml(const std::string& name, const std::string& value) {
  return fmt::format("      <property name=\"{}\" value=\"{}\"/>\n", name, MarkupEscaped(value));
}

// What has no place in a testcase.
std::string Notes(const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  std::string text = Headline(verdict) + "\nagain: " + Legible(judgement.command) + "\n";
  for (const std::string& taken : judgement.capture.defaults)
    text += "taken: " + Legible(taken) + "\n";
  for (const FrequencyChoice& choice : verdict.inverse_frequencies)
    text += "inverse frequency of " + FrequencyText(choice) + "\n";
  if (verdict.mode != "rule") {
    for (const RuleVerdict& rule : verdict.rules)
      text += std::string(rule.passes ? "passes " : "fails ") + Legible(RuleText(rule)) + "\n";
  }
  if (!verdict.would_miss.empty()) text += Legible(WouldMissText(verdict.would_miss)) + "\n";
  return text;
}

}  // namespace

std::string JunitReport(const Judgement& judgement) {
  const std::vector<TestCase> cases = TestCases(judgement);
  const auto count = [&](Ending ending) {
    return std::count_if(cases.begin(), cases.end(),
                         [&](const TestCase& test) { return test.ending == ending; });
  };
  const std::string suite = "bitanchor " + judgement.path;
  std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n";
  xml += fmt::format(
      R"(  <testsuite id="0" package="bitanchor" name="{}" timestamp="{}" hostname="localhost" tests="{}" failures="{}" errors="{}" skipped="{}" time="{:.3f}">)"
      "\n    <properties>\n",
      MarkupEscaped(suite), MarkupEscaped(judgement.when), cases.size(), count(Ending::kFailed),
      count(Ending::kInconclusive), count(Ending::kSkipped), judgement.seconds);
  xml += PropertyXml("verdict", std::string(Name(judgement.verdict.Result())));
  xml += PropertyXml("judged_by", JudgedBy(judgement.verdict));
  xml += PropertyXml("kernel", judgement.capture.kernel);
  xml += PropertyXml("problem", ProblemLine(judgement.capture.problem));
  xml += PropertyXml("version", judgement.version);
  xml += "    </properties>\n";
  for (const TestCase& test : cases) xml += CaseXml(test, suite);
  return xml + "    " + Element("system-out", Notes(judgement)) +
         "\n    <system-err></system-err>\n  </testsuite>\n</testsuites>\n";
}

}  // namespace bitanchor
