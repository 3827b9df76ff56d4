// bitanchor golden: a folder of problems and the digests of their answers.
#include "tools/golden.h"

#include "lib/file/capture_writer.h"
#include "lib/recipe/attention_recipe.h"

namespace bitanchor::tools {
namespace {

// `view`, or a copy of it in layout bshd.
TensorView InBSHD(const TensorView& view, std::vector<OwnedTensor>& copies) {
  if (view.stride == DenseStrides(view.shape, Layout::kBSHD)) return view;
  const auto [B, S, H, D] = view.shape;
  OwnedTensor copy(view.dtype, view.shape, Layout::kBSHD);
  const size_t row_bytes = static_cast<size_t>(D) * DTypeBytes(view.dtype);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        std::memcpy(copy.view.Row(b, s, h), view.Row(b, s, h), row_bytes);
      }
    }
  }
  copies.push_back(std::move(copy));
  return copies.back().view;
}

void ListTensors(GivenProblem& given) {
  given.tensors = ProblemTensors(given.problem, Layout::kBSHD);
  if (given.dout) given.tensors.push_back(OutView("do", given.dout, Layout::kBSHD));
}

std::vector<TensorDigest> DigestsOf(const std::vector<OutTensor>& tensors) {
  std::vector<TensorDigest> digests;
  for (const OutTensor& tensor : tensors) digests.push_back(DigestOf(tensor));
  return digests;
}

}  // namespace

GivenProblem DrawGiven(const ProblemSpec& spec) {
  GivenProblem given;
  given.spec = spec;
  given.drawn = Draw(spec, Layout::kBSHD);
  given.problem = given.drawn.problem;
  if (spec.gradient) given.dout = given.drawn.dout.view;
  ListTensors(given);
  return given;
}

GivenProblem ReadGiven(const std::string& path) {
  GivenProblem given;
  given.capture = ReadCapture(path);
  given.problem = given.capture.problem;
  AttentionProblem& problem = given.problem;
  problem.q = InBSHD(problem.q, given.copies);
  problem.k = InBSHD(problem.k, given.copies);
  problem.v = InBSHD(problem.v, given.copies);
  if (given.capture.dout) given.dout = InBSHD(given.capture.dout, given.copies);
  ListTensors(given);
  ProblemSpec& spec = given.spec;
  spec.shape = problem.shape;
  spec.dtype = problem.dtype;
  spec.mask = problem.mask.spec;
  spec.softmax_scale = problem.softmax_scale;
  spec.rope = problem.rope;
  spec.gradient = static_cast<bool>(given.dout);
  return given;
}

Golden Describe(const Golden& like, const GivenProblem& given,
                const std::vector<OutTensor>& outputs) {
  Golden golden = like;
  golden.problem = given.spec;
  golden.problem.documents = like.problem.documents;
  golden.problem.reset_positions = like.problem.reset_positions;
  golden.problem.seed = like.problem.seed;
  golden.inputs = DigestsOf(given.tensors);
  golden.outputs = DigestsOf(outputs);
  return golden;
}

void AddGolden(CLI::App& app, Action& run) {
  CLI::App* command = app.add_subcommand(
      "golden",
      "A folder of goldens: problems drawn from a seed, and the SHA-256 of every bit that a recipe "
      "answers.\n\n"
      "  bitanchor golden make goldens --shape 1,256,4,2,64 --documents 100,156 --mask anchor\n"
      "  bitanchor golden verify goldens\n");
  command->require_subcommand(1);
  AddGoldenMake(*command, run);
  AddGoldenVerify(*command, run);
}

}  // namespace bitanchor::tools
