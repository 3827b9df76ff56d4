// A mask from the command line: `bitanchor mask` without a file.
#ifndef BITANCHOR_TOOLS_MASK_OPTIONS_H_
#define BITANCHOR_TOOLS_MASK_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
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

// Throws InputError where a map of such blocks would have more than 2^26, a byte each. All >= 1.
void CheckBlockCount(int64_t Sq, int64_t Skv, int64_t block_q, int64_t block_k);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_MASK_OPTIONS_H_
