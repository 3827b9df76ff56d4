// The options that describe a problem, for every command that draws one.
#ifndef BITANCHOR_TOOLS_PROBLEM_OPTIONS_H_
#define BITANCHOR_TOOLS_PROBLEM_OPTIONS_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/problem/problem_spec.h"
#include "tools/compute.h"

namespace bitanchor::tools {

struct ProblemOptions {
  std::string shape, documents, mask = "full", dtype = "bf16", corner = "top-left";
  std::string rope, rope_theta, rope_config, layer_type;
  bool not_causal = false, reset_positions = false, gradient = false;
  int64_t window = 0, kv_length = 0;
  uint64_t seed = 0;

  void AddTo(CLI::App& app);
  void AddMaskTo(CLI::App& app);  // only the options that say who sees whom; AddTo adds them too
  ProblemSpec Spec() const;       // throws InputError naming the option
  MaskSpec MaskRules() const;
};

// --rope, --rope-theta, --rope-config and --layer-type, as a capture's metadata would say them;
// nullopt without --rope.
std::optional<RopeConfig> RopeOf(const ProblemOptions& options, int64_t head_dim);

// Whole numbers >= 1, separated by commas. Throws InputError naming `option`.
std::vector<int64_t> Numbers(const std::string& option, const std::string& text);

// For seeds and token ids: a whole number, 0..most. CLI11 alone takes -1 and 2^64 for 2^64 - 1.
CLI::Validator WholeUpTo(uint64_t most);

// A problem and the memory of its tensors.
struct DrawnProblem {
  AttentionProblem problem;
  OwnedTensor q, k, v;
  OwnedTensor dout;  // where the spec asks for it
};

// The problem without its tensors. Throws InputError where the spec describes no valid problem, or
// one that this machine's memory cannot hold; nothing large is allocated before that.
AttentionProblem Undrawn(const ProblemSpec& spec);

// By gen-1. Throws as Undrawn does.
DrawnProblem Draw(const ProblemSpec& spec, Layout layout);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_PROBLEM_OPTIONS_H_
