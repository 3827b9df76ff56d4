// The commands of the program, one file each.
#ifndef BITANCHOR_TOOLS_COMMANDS_H_
#define BITANCHOR_TOOLS_COMMANDS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "simd/options.h"

namespace bitanchor::tools {

enum ExitStatus { kPassed = 0, kMismatch = 1, kBadInput = 2 };

// What --threads, --target and --quiet mean everywhere.
struct CommonOptions {
  int threads = 0;
  std::string target;
  bool quiet = false;

  void AddTo(CLI::App& app);
  // Throws InputError for a target that this machine does not have. `what` labels the progress bar.
  simd::EngineOptions Engine(const std::string& what) const;
};

// Each adds its subcommand; `run` is set to what shall be executed where the user chose it.
using Action = std::function<int()>;
void AddCheck(CLI::App& app, Action& run);
void AddExplain(CLI::App& app, Action& run);
void AddRun(CLI::App& app, Action& run);
void AddGen(CLI::App& app, Action& run);
void AddGolden(CLI::App& app, Action& run);
void AddInfo(CLI::App& app, Action& run);
void AddMask(CLI::App& app, Action& run);
void AddMatMul(CLI::App& app, Action& run);
void AddPack(CLI::App& app, Action& run);
void AddDrift(CLI::App& app, Action& run);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_COMMANDS_H_
