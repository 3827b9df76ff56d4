// bitanchor gen: a problem from a seed.
#include <fmt/format.h>

#include "lib/file/capture_writer.h"
#include "lib/problem/generate.h"
#include "tools/commands.h"
#include "tools/problem_options.h"

namespace bitanchor::tools {
namespace {

struct GenOptions {
  std::string out, layout = "bshd";
  ProblemOptions problem;
  bool quiet = false;
};

int Gen(const GenOptions& options) {
  const Layout layout = options.layout == "bhsd" ? Layout::kBHSD : Layout::kBSHD;
  const ProblemSpec spec = options.problem.Spec();
  const DrawnProblem drawn = Draw(spec, layout);
  std::vector<OutTensor> tensors = ProblemTensors(drawn.problem, layout);
  if (spec.gradient) tensors.push_back(OutView("do", drawn.dout.view, layout));
  WriteSafetensors(options.out, tensors,
                   {{kCaptureKey, CaptureMetadata(drawn.problem, layout, "")}});
  if (!options.quiet) {
    const auto [B, Sq, Skv, Hq, Hkv, D] = spec.shape;
    fmt::print("{}: {} seed {}, {} B {} Sq {} Skv {} Hq {} Hkv {} D {}, mask {}\n", options.out,
               kGen1Name, spec.seed, options.problem.dtype, B, Sq, Skv, Hq, Hkv, D,
               Name(spec.mask.rule));
  }
  return kPassed;
}

}  // namespace

void AddGen(CLI::App& app, Action& run) {
  auto options = std::make_shared<GenOptions>();
  CLI::App* command = app.add_subcommand("gen",
                                         "Make a problem from a seed.\n\n"
                                         "  bitanchor gen -o problem.safetensors --shape "
                                         "1,1024,4,2,64 --documents 256,512,256 --mask anchor\n");
  command->add_option("-o,--output", options->out, "The problem, a capture file without answers")
      ->required();
  options->problem.AddTo(*command);
  command->get_option("--shape")->required();
  command->add_option("--layout", options->layout, "Order of the axes")
      ->check(CLI::IsMember({"bshd", "bhsd"}))
      ->capture_default_str();
  command->add_flag("--quiet", options->quiet, "Print nothing");
  command->callback([options, &run] { run = [options] { return Gen(*options); }; });
}

}  // namespace bitanchor::tools
