// A mask from the command line: `bitanchor mask` without a file.
#ifndef BITANCHOR_TOOLS_MASK_OPTIONS_H_
#define BITANCHOR_TOOLS_MASK_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <string>

#include "lib/problem/mask.h"
#include "tools/problem_options.h"

namespace bitanchor::tools {

struct MaskOptions {
  std::string lengths;
  ProblemOptions problem;  // only what concerns the mask

  void AddTo(CLI::App& app);
  // One batch, as gen would make it. Throws InputError.
  Mask Make() const;
};

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_MASK_OPTIONS_H_
