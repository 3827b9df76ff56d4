#include "tools/report_options.h"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <set>

#include "lib/file/github.h"
#include "lib/file/html_report.h"
#include "lib/file/junit.h"
#include "lib/file/write_file.h"
#include "tools/output_places.h"

namespace bitanchor::tools {
namespace {

constexpr const char* kSummaryVariable = "GITHUB_STEP_SUMMARY";

std::string ShellQuoted(const std::string& word) {
  constexpr const char* kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./,:=+@%";
  if (!word.empty() && word.find_first_not_of(kPlain) == std::string::npos) return word;
  std::string quoted = "'";
  for (const char c : word) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

void Put(const std::optional<std::string>& path, const std::string& text) {
  if (path) PutText(*path, text);
}

// Missing: annotations only, and the log says so.
void PutSummary(const Judgement& judgement) {
  const char* summary = std::getenv(kSummaryVariable);
  if (summary == nullptr || *summary == '\0') {
    fmt::print("{} is not set: annotations only, no summary\n", kSummaryVariable);
    return;
  }
  AppendToFile(summary, GithubSummary(judgement));
}

}  // namespace

void ReportOptions::AddTo(CLI::App& command) {
  command_ = &command;
  command.add_option("--json", json_, "Write the report to this file (-: stdout, instead of text)");
  command.add_option("--junit", junit_, "Write JUnit XML, for the CI to read, to this file");
  command.add_option("--html", html_, "Write one self-contained page to this file");
  command.add_flag("--github", github_,
                   "Annotate in GitHub Actions, and add a summary to $GITHUB_STEP_SUMMARY");
}

void ReportOptions::Begin(const std::string& input) {
  OutputPlaces places;
  if (github_) places.Take("-", "--github");
  places.Take(input, "the capture");
  for (const auto& [option, path] :
       {std::pair("--json", json_), std::pair("--junit", junit_), std::pair("--html", html_)}) {
    if (path) places.TakeOutput(*path, option);
  }
  const char* summary = github_ ? std::getenv(kSummaryVariable) : nullptr;
  if (summary != nullptr && *summary != '\0') RefuseUnwritable(summary);
  input_ = input;
  when_ = fmt::format("{:%Y-%m-%dT%H:%M:%S}", fmt::gmtime(std::time(nullptr)));
  start_ = std::chrono::steady_clock::now();
}

bool ReportOptions::TakesStdout() const { return json_ == "-" || junit_ == "-" || html_ == "-"; }

void ReportOptions::Write(const Verdict& verdict, const Capture& capture,
                          bool allow_inconclusive) const {
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
  const Judgement judgement{verdict,           capture, input_,       CommandLine(*command_),
                            BITANCHOR_VERSION, when_,   took.count(), allow_inconclusive};
  if (json_) Put(json_, JsonReport(judgement));
  if (junit_) Put(junit_, JunitReport(judgement));
  if (html_) Put(html_, HtmlReport(judgement));
  if (!github_) return;
  fmt::print("{}", GithubAnnotations(judgement));
  PutSummary(judgement);
}

std::string CommandLine(const CLI::App& command) {
  std::string line = "bitanchor " + command.get_name();
  std::set<const CLI::Option*> said;
  for (const CLI::Option* option : command.parse_order()) {
    if (!said.insert(option).second) continue;
    const bool flag = option->get_expected_max() == 0;
    for (const std::string& value : option->results()) {
      if (!option->get_positional()) line += " " + option->get_name();
      if (!flag) line += " " + ShellQuoted(value);
    }
  }
  return line;
}

}  // namespace bitanchor::tools
