// The reports that a command which judges can write: --json, --junit, --html, --github.
#ifndef BITANCHOR_TOOLS_REPORT_OPTIONS_H_
#define BITANCHOR_TOOLS_REPORT_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <chrono>
#include <optional>
#include <string>

#include "lib/file/report.h"

namespace bitanchor::tools {

// "-" is stdout. Order of use: AddTo, then before long work Begin, after it Write.
class ReportOptions {
 public:
  void AddTo(CLI::App& command);

  // Throws InputError where a report could not be written or two would share a place. The clock
  // starts. `input` is what is judged, which no report may replace.
  void Begin(const std::string& input);

  // Whether stdout belongs to a report, so that nothing else may be printed there.
  bool TakesStdout() const;

  // Writes everything that was asked for. --github also says on stdout where its summary went.
  void Write(const Verdict& verdict, const Capture& capture, bool allow_inconclusive = false) const;

 private:
  const CLI::App* command_ = nullptr;
  std::optional<std::string> json_, junit_, html_;
  bool github_ = false;
  std::string input_, when_;
  std::chrono::steady_clock::time_point start_;
};

// What the user typed after the program's name, as a line that a shell takes back: each word
// quoted where it must be.
std::string CommandLine(const CLI::App& command);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_REPORT_OPTIONS_H_
