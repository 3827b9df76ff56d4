// What `bitanchor drift` rotates: q, k and v of a file or of a seed, with masks and positions.
#ifndef BITANCHOR_TOOLS_DRIFT_INPUT_H_
#define BITANCHOR_TOOLS_DRIFT_INPUT_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/problem/attention_problem.h"
#include "tools/compute.h"
#include "tools/problem_options.h"

namespace bitanchor::tools {

struct DriftInputOptions {
  std::string input, generate, mask;
  ProblemOptions problem;  // its recipe is not looked at
  int64_t one_in = 1;

  void AddTo(CLI::App& app);
};

struct DriftInput {
  std::string says;                // where it comes from
  int64_t layers = 1;              // L
  AttentionProblem problem;        // of layer 0: validated; mask, positions; tensors [B, S, H, D]
  TensorView q, k, v;              // of all layers: [L B, S, H, D]; v null where the file has none
  int64_t tokens = 0;              // before one in `one_in` was taken
  int64_t one_in = 1;              // token n of the tensors is token n one_in of the sequence
  std::optional<RopeConfig> rope;  // of a capture
  std::vector<std::string> defaults;

  Capture capture;                  // owns a file's tensors
  OwnedTensor own_q, own_k, own_v;  // or of a seed
};

// Throws InputError.
DriftInput ReadDriftInput(const DriftInputOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_INPUT_H_
