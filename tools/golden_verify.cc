// bitanchor golden verify: every golden of a folder computed again.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "lib/file/printable.h"
#include "lib/file/write_file.h"
#include "lib/problem/generate.h"
#include "lib/tensor/error.h"
#include "simd/targets.h"
#include "tools/golden.h"
#include "tools/golden_check.h"

namespace bitanchor::tools {
namespace {

using Json = nlohmann::ordered_json;

struct VerifyOptions {
  std::string folder, engine = "simd", json;
  std::vector<std::string> only, problems;
  CommonOptions common;
};

using Problems = std::map<std::string, std::string>;  // of goldens that have none in the folder

std::string CapturePath(const std::string& folder, const Golden& golden, const Problems& problems) {
  if (golden.tensors) return GoldenProblemPath(folder, golden.name);
  const auto found = problems.find(golden.name);
  if (found != problems.end()) return found->second;
  throw InputError(PrintablePath(GoldenPath(folder, golden.name)),
                   "a capture that is not in the folder",
                   fmt::format("--problem {}=FILE, or --only others", golden.name));
}

Problems ReadProblems(const VerifyOptions& options, const std::vector<Golden>& goldens) {
  Problems problems;
  for (const std::string& text : options.problems) {
    const size_t equals = text.find('=');
    const std::string name = text.substr(0, equals);
    const auto needs_it = [&](const Golden& golden) {
      return golden.name == name && golden.generator == kCaptureGenerator && !golden.tensors;
    };
    if (equals == std::string::npos || !std::ranges::any_of(goldens, needs_it)) {
      throw InputError("--problem", Quoted(text),
                       "NAME=FILE, NAME a golden of a capture that is not in the folder");
    }
    if (!problems.emplace(name, text.substr(equals + 1)).second) {
      throw InputError("--problem", Quoted(text), "each name once");
    }
  }
  return problems;
}

std::vector<Golden> Select(const VerifyOptions& options) {
  const std::vector<Golden> all = ReadGoldens(options.folder);
  if (options.only.empty()) return all;
  std::vector<Golden> selected;
  for (const std::string& name : options.only) {
    const auto found =
        std::ranges::find_if(all, [&](const Golden& golden) { return golden.name == name; });
    if (found == all.end()) throw InputError("--only", Quoted(name, 70), "a golden of the folder");
    selected.push_back(*found);
  }
  return selected;
}

std::string ShellWord(const std::string& text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("/._-=+:,@%").find(c) != std::string_view::npos;
  };
  if (!text.empty() && std::ranges::all_of(text, plain)) return text;
  std::string word = "'";
  for (const char c : Printable(text, text.size() * 4 + 2))
    word += c == '\'' ? "'\\''" : std::string(1, c);
  return word + "'";
}

std::string Repeat(const VerifyOptions& options, const std::string& name,
                   const Problems& problems) {
  std::string line =
      fmt::format("bitanchor golden verify {} --only {}", ShellWord(options.folder), name);
  if (const auto found = problems.find(name); found != problems.end()) {
    line += " --problem " + ShellWord(name + "=" + found->second);
  }
  if (options.engine != "simd") line += " --engine " + options.engine;
  if (!options.common.target.empty()) line += " --target " + options.common.target;
  if (options.common.threads > 0) line += fmt::format(" --threads {}", options.common.threads);
  return line;
}

void Print(const Checked& checked, const std::string& repeat) {
  const Golden& golden = checked.golden;
  std::vector<std::string> names;
  for (const TensorDigest& tensor : golden.outputs) names.push_back(tensor.name);
  fmt::print("{:9} {}: {}, {}: {}{}\n", checked.Ok() ? "ok" : "MISMATCH", golden.name,
             golden.generator, golden.recipe, fmt::join(names, " "),
             golden.tensors ? ", and the stored tensors" : "");
  if (checked.Ok()) return;
  for (const GoldenDifference& d : checked.differences) {
    fmt::print("  {}: got {}, want {}\n", d.field, d.got, d.want);
  }
  for (const TensorDifference& tensor : checked.tensors) {
    fmt::print("  {}: {} of {} elements differ from the stored ones\n", tensor.name,
               tensor.differing, tensor.elements);
    for (const ElementDifference& e : tensor.first) {
      fmt::print("    [{}]: got {} ({}), want {} ({})\n", fmt::join(e.index, ", "), e.got.bits,
                 e.got.value, e.want.bits, e.want.value);
    }
  }
  if (!golden.tensors) fmt::print("  no tensors are stored, so no elements can be named\n");
  fmt::print("  repeat: {}\n", repeat);
}

Json CheckedJson(const Checked& checked, const std::string& repeat) {
  Json differences = Json::array(), tensors = Json::array();
  for (const GoldenDifference& d : checked.differences) {
    differences.push_back({{"field", d.field}, {"got", d.got}, {"want", d.want}});
  }
  for (const TensorDifference& tensor : checked.tensors) {
    Json first = Json::array();
    for (const ElementDifference& e : tensor.first) {
      first.push_back({{"index", e.index}, {"got_bits", e.got.bits}, {"want_bits", e.want.bits}});
    }
    tensors.push_back({{"name", tensor.name},
                       {"elements", tensor.elements},
                       {"differing", tensor.differing},
                       {"first", first}});
  }
  return {{"name", checked.golden.name},
          {"status", checked.Ok() ? "ok" : "mismatch"},
          {"generator", checked.golden.generator},
          {"recipe", checked.golden.recipe},
          {"differences", differences},
          {"tensors", tensors},
          {"repeat", repeat}};
}

// Throws InputError for a golden whose problem cannot be drawn or is not there.
void CheckDrawable(const std::string& folder, const Golden& golden, const Problems& problems) {
  if (golden.generator == kCaptureGenerator) {
    CapturePath(folder, golden, problems);
    return;
  }
  try {
    Undrawn(golden.problem);
  } catch (const InputError& error) {
    throw error.In(PrintablePath(GoldenPath(folder, golden.name)));
  }
}

int Verify(const VerifyOptions& options) {
  const simd::EngineOptions engine_options = options.common.Engine("golden");
  const Engine engine = EngineOf(options.engine);
  const std::vector<Golden> goldens = Select(options);
  const Problems problems = ReadProblems(options, goldens);
  // What can be refused is refused before anything is computed.
  for (const Golden& golden : goldens) CheckDrawable(options.folder, golden, problems);
  const std::string ran =
      engine == Engine::kScalar ? "the definition" : simd::RunningTarget(engine_options.target);
  const bool as_text = options.json != "-";
  Json results = Json::array();
  size_t wrong = 0;
  for (const Golden& golden : goldens) {
    const GivenProblem given = golden.generator == kGen1Name
                                   ? DrawGiven(golden.problem)
                                   : ReadGiven(CapturePath(options.folder, golden, problems));
    const Checked checked = CheckGolden(options.folder, golden, given, engine, engine_options);
    const std::string repeat = Repeat(options, golden.name, problems);
    if (!checked.Ok()) ++wrong;
    if (as_text && !options.common.quiet) Print(checked, repeat);
    results.push_back(CheckedJson(checked, repeat));
  }
  const Json report = {
      {"schema", 1}, {"verdict", wrong == 0 ? "pass" : "fail"}, {"ran", ran}, {"goldens", results}};
  const std::string text = report.dump(2, ' ', true) + "\n";
  if (!as_text) fmt::print("{}", text);
  if (as_text && !options.json.empty()) WriteFile(options.json, text);
  if (as_text) {
    fmt::print("{} golden{} computed by {}: {} ok, {} MISMATCH\n", goldens.size(),
               goldens.size() == 1 ? "" : "s", ran, goldens.size() - wrong, wrong);
  }
  return wrong == 0 ? kPassed : kMismatch;
}

}  // namespace

void AddGoldenVerify(CLI::App& app, Action& run) {
  auto options = std::make_shared<VerifyOptions>();
  CLI::App* command = app.add_subcommand(
      "verify",
      "Compute every golden of a folder again: exit 0 the same bits, 1 not the same, 2 bad input "
      "or nothing to verify.\n\n  bitanchor golden verify goldens\n");
  command->add_option("folder", options->folder, "The folder of goldens")->required();
  command->add_option("--only", options->only, "Only this golden; may be given again")
      ->expected(1)
      ->take_all();
  command
      ->add_option("--problem", options->problems,
                   "NAME=FILE: the capture of golden NAME, where it is not in the folder")
      ->expected(1)
      ->take_all();
  AddEngineOption(*command, options->engine);
  command->add_option("--json", options->json,
                      "Write the outcome to this file (-: stdout, instead of the text)");
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return Verify(*options); }; });
}

}  // namespace bitanchor::tools
