// Computes the fixed list of cases and prints "<sha256> <case>" lines, or compares them with the
// committed ones. One line of options for every compiler, target and machine; no test framework, so
// that it cross-compiles.
//
//   bitanchor_digest --engine scalar                    the definition's lines: what digests.txt is
//   bitanchor_digest --engine scalar --check FILE       exit status 1 where any line differs
//   bitanchor_digest --all-targets --check FILE         every SIMD target here
//   bitanchor_digest --target AVX2 --target SSE4 ...    these
//     --expect AVX3,AVX2        with --all-targets: these must be among them, or it is a failure
//     --threads 1,2,16          each of these thread counts ...
//     --key-blocks 16,64        ... with each of these key blocks
//     --only TEXT               cases whose name contains TEXT; then FILE's other lines are let be
//     --skip-if-cpu-lacks       a target that needs what this CPU lacks is no failure; nothing else
//     to
//                               run: exit status 77
//     --list                    names the targets that can run here
//
// Exit status: 0 as it should be, 1 a difference or a target that did not run, 2 bad options or a
// file that cannot be read, 77 skipped. It never passes without having compared: no case, no line,
// no target or mostly NaN is a failure.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <map>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "tests/digest/cases.h"
#include "tests/digest/cpu.h"

namespace bitanchor::digest {
namespace {

constexpr int kSame = 0, kDifferent = 1, kBadInput = 2, kSkipped = 77;
constexpr int kShownMismatches = 12;

struct Options {
  bool scalar = false, all_targets = false, skip_if_cpu_lacks = false, list = false;
  std::vector<std::string> targets, expect;
  std::vector<int64_t> threads = {1}, key_blocks = {64};
  std::string check, only;
};

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::vector<std::string> SplitAtCommas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
  return parts;
}

std::vector<int64_t> Numbers(const std::string& option, const std::string& text) {
  std::vector<int64_t> numbers;
  for (const std::string& part : SplitAtCommas(text)) {
    char* end = nullptr;
    const int64_t number = std::strtoll(part.c_str(), &end, 10);
    if (end == part.c_str() || *end != 0 || number < 1 || number > 1024) {
      throw std::invalid_argument(option + ": got " + text + ", want numbers in 1..1024");
    }
    numbers.push_back(number);
  }
  if (numbers.empty()) throw std::invalid_argument(option + ": got nothing, want a number");
  return numbers;
}

Options Parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string option = argv[i];
    const auto value = [&]() -> std::string {
      if (++i == argc) throw std::invalid_argument(option + ": got nothing, want a value");
      return argv[i];
    };
    if (option == "--engine") {
      if (value() != "scalar") throw std::invalid_argument("--engine: want scalar");
      options.scalar = true;
    } else if (option == "--target") {
      options.targets.push_back(value());
    } else if (option == "--all-targets") {
      options.all_targets = true;
    } else if (option == "--expect") {
      options.expect = SplitAtCommas(value());
    } else if (option == "--threads") {
      options.threads = Numbers(option, value());
    } else if (option == "--key-blocks") {
      options.key_blocks = Numbers(option, value());
    } else if (option == "--check") {
      options.check = value();
    } else if (option == "--only") {
      options.only = value();
    } else if (option == "--skip-if-cpu-lacks") {
      options.skip_if_cpu_lacks = true;
    } else if (option == "--list") {
      options.list = true;
    } else {
      throw std::invalid_argument(option + ": no such option");
    }
  }
  return options;
}

// Case name -> digest.
using Lines = std::map<std::string, std::string>;

Lines ReadLines(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::invalid_argument("--check: cannot read " + path);
  Lines lines;
  for (std::string digest, name; file >> digest >> name;) {
    if (digest.size() != 64 || !lines.emplace(name, digest).second) {
      throw std::invalid_argument("--check: bad or repeated line for " + name);
    }
  }
  if (!file.eof() || lines.empty()) throw std::invalid_argument("--check: no lines in " + path);
  return lines;
}

// A library that always gives the same answer would make every comparison pass.
void CheckSha256() {
  Sha256 sha256;
  sha256.Update(std::as_bytes(std::span("abc", 3)));
  if (sha256.Hex() != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad") {
    throw std::runtime_error("libcrypto's SHA-256 of \"abc\" is wrong");
  }
}

// The digest of one case; why it cannot count, in `complaint`, if so.
std::string Compute(const Case& one, Engine& engine, std::string& complaint) {
  Results results;
  one.compute(engine, results);
  if (results.Elements() == 0) complaint = "no elements";
  if (results.Finite() * 100 < results.Elements() * one.finite_percent) {
    complaint = std::to_string(results.Finite()) + " of " + std::to_string(results.Elements()) +
                " elements are finite, want " + std::to_string(one.finite_percent) + "%";
  }
  return results.Hex();
}

// All cases on one engine. Without `want`, prints the lines. Returns whether all is well.
bool Run(const std::string& what, Engine& engine, const std::vector<Case>& cases,
         const std::optional<Lines>& want) {
  const auto start = std::chrono::steady_clock::now();
  int ran = 0, left = 0, wrong = 0;
  for (const Case& one : cases) {
    if (!engine.Runs(one.operation)) {
      ++left;
      continue;
    }
    ++ran;
    std::string complaint;
    const std::string got = Compute(one, engine, complaint);
    if (!want) {
      std::printf("%s %s\n", got.c_str(), one.name.c_str());
    } else if (const auto line = want->find(one.name); line == want->end()) {
      complaint = "the file has no such case";
    } else if (line->second != got) {
      complaint = "got " + got.substr(0, 16) + "..., want " + line->second.substr(0, 16) + "...";
    }
    if (!complaint.empty() && ++wrong <= kShownMismatches) {
      std::fprintf(stderr, "%s: %s: %s\n", what.c_str(), one.name.c_str(), complaint.c_str());
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const std::string only_definition =
      left == 0 ? "" : " (" + std::to_string(left) + " more are the definition's alone)";
  std::fprintf(stderr, "%s: %d cases%s, %d %s, %.1f s\n", what.c_str(), ran,
               only_definition.c_str(), want ? ran - wrong : wrong, want ? "equal" : "refused",
               seconds);
  return ran > 0 && wrong == 0;
}

// Lines of the file that no case stands for any more. `cases` are all there are.
bool NoLineWithoutCase(const Lines& want, const std::vector<Case>& cases) {
  std::set<std::string> names;
  for (const Case& one : cases) names.insert(one.name);
  bool fine = true;
  for (const auto& [name, digest] : want) {
    if (!names.contains(name)) {
      std::fprintf(stderr, "%s: a line of the file, but no case\n", name.c_str());
      fine = false;
    }
  }
  return fine;
}

// The cases that --only leaves. Throws where a name occurs twice.
std::vector<Case> Select(const std::vector<Case>& all, const std::string& only) {
  std::vector<Case> cases;
  std::set<std::string> names;
  for (const Case& one : all) {
    if (!names.insert(one.name).second) throw std::logic_error("two cases named " + one.name);
    if (one.name.find(only) != std::string::npos) cases.push_back(one);
  }
  if (cases.empty()) throw std::invalid_argument("--only: no case contains " + only);
  return cases;
}

// kSame where every name of `expected` is `here`; else says which is not and why. A target that
// this CPU lacks is kSkipped, if that is allowed, and anything else kDifferent.
int CheckExpected(const std::vector<std::string>& expected, const std::vector<std::string>& here,
                  bool may_skip) {
  int status = kSame;
  for (const std::string& name : expected) {
    if (Contains(here, name)) continue;
    const std::string lacking = FeatureThisCpuLacks(name);
    const std::string why = lacking.empty() ? "is not in this build, or this CPU was not recognised"
                                            : "needs " + lacking + ", which this CPU lacks";
    const bool skip = may_skip && !lacking.empty();
    std::fprintf(stderr, "%s %s: it %s\n", skip ? "SKIPPED" : "MISSING", name.c_str(), why.c_str());
    status = skip && status != kDifferent ? kSkipped : kDifferent;
  }
  return status;
}

// One target with every choice of threads and key blocks.
bool RunTarget(const Options& options, const std::string& target, const std::vector<Case>& cases,
               const std::optional<Lines>& want) {
  bool fine = true;
  for (const int64_t threads : options.threads) {
    for (const int64_t key_block : options.key_blocks) {
      const std::string what = target + ", threads " + std::to_string(threads) + ", key block " +
                               std::to_string(key_block);
      try {
        const auto engine = SimdEngine({target, static_cast<int>(threads), key_block});
        fine = Run(what, *engine, cases, want) && fine;
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s: %s\n", what.c_str(), error.what());
        fine = false;
      }
    }
  }
  return fine;
}

int Main(int argc, char** argv) {
  const Options options = Parse(argc, argv);
  const std::vector<std::string> here = SimdTargets();
  if (options.list) {
    for (const std::string& name : here) std::printf("%s\n", name.c_str());
    return kSame;
  }
  if (!options.scalar && !options.all_targets && options.targets.empty()) {
    throw std::invalid_argument("want --engine scalar, --target NAME or --all-targets");
  }
  CheckSha256();
  const std::vector<Case> all = AllCases(), cases = Select(all, options.only);
  std::optional<Lines> want;
  bool fine = true;
  if (!options.check.empty()) {
    want = ReadLines(options.check);
    fine = NoLineWithoutCase(*want, all);
  }

  std::vector<std::string> expected = options.expect, run;
  expected.insert(expected.end(), options.targets.begin(), options.targets.end());
  for (const std::string& name : here) {
    if (options.all_targets || Contains(options.targets, name)) run.push_back(name);
  }
  const int presence = CheckExpected(expected, run, options.skip_if_cpu_lacks);
  if (presence == kDifferent) fine = false;
  if (options.scalar) fine = Run("definition", *ScalarEngine(), cases, want) && fine;
  for (const std::string& target : run) fine = RunTarget(options, target, cases, want) && fine;
  if (!fine) return kDifferent;
  if (run.empty() && !options.scalar) return presence == kSkipped ? kSkipped : kDifferent;
  return kSame;
}

}  // namespace
}  // namespace bitanchor::digest

int main(int argc, char** argv) {
  try {
    return bitanchor::digest::Main(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return bitanchor::digest::kBadInput;
  }
}
