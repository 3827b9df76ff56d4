// What `golden make` and `golden verify` share: a golden's problem, computed again.
#ifndef BITANCHOR_TOOLS_GOLDEN_H_
#define BITANCHOR_TOOLS_GOLDEN_H_

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/file/golden.h"
#include "tools/commands.h"
#include "tools/compute.h"
#include "tools/problem_options.h"

namespace bitanchor::tools {

// A problem in layout bshd, and its memory. Moving it leaves the tensors valid.
struct GivenProblem {
  ProblemSpec spec;
  AttentionProblem problem;
  TensorView dout;                 // null without spec.gradient
  std::vector<OutTensor> tensors;  // a golden's inputs

  DrawnProblem drawn;
  Capture capture;
  std::vector<OwnedTensor> copies;  // of a capture's tensors in another layout
};

GivenProblem DrawGiven(const ProblemSpec& spec);
GivenProblem ReadGiven(const std::string& path);  // a capture file; its answers are not looked at

// `like`, with what `given` and `outputs` say in place of its own: shape, dtype, mask, scale, rope,
// do and digests.
Golden Describe(const Golden& like, const GivenProblem& given,
                const std::vector<OutTensor>& outputs);

void AddGoldenMake(CLI::App& app, Action& run);
void AddGoldenVerify(CLI::App& app, Action& run);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_GOLDEN_H_
