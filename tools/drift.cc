// bitanchor drift: the RoPE laboratory, how a recipe breaks relative position.
#include <fmt/format.h>

#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/drift_html.h"
#include "tools/drift_input.h"
#include "tools/drift_laboratory.h"
#include "tools/drift_lists.h"
#include "tools/drift_report.h"
#include "tools/drift_svg.h"
#include "tools/output_places.h"
#include "tools/report_options.h"

namespace bitanchor::tools {
namespace {

// Of --stages, which was measured to take 0.3 us (bf16) to 1.4 us (f32) of one core for each
// position of each pair of dimensions: a recipe's 64 pairs to here in 6 to 25 minutes of CPU time.
constexpr int64_t kMostPositions = int64_t{1} << 24;

struct DriftOptions {
  DriftInputOptions input;
  std::string recipes = "hf-llama,meta-llama,exact", dtypes, pairing, shifts = "0:16", lengths,
              key = "0";
  std::optional<std::string> json, csv, svg, html;
  const CLI::App* command = nullptr;
  bool stages = false;
  int64_t positions = 131072;
  CommonOptions common;
};

// What is written besides the text.
struct Output {
  const char* option;
  std::string path;  // "-": stdout, instead of the text
  std::string (*text)(const DriftReport&);
};

std::vector<Output> Outputs(const DriftOptions& options) {
  std::vector<Output> outputs;
  const auto add = [&](const char* option, const std::optional<std::string>& path, auto text) {
    if (path) outputs.push_back({option, *path, text});
  };
  add("--json", options.json, DriftJson);
  add("--csv", options.csv, DriftCsv);
  add("--svg", options.svg, DriftSvg);
  add("--html", options.html, DriftHtml);
  return outputs;
}

std::string InputInWords(const DriftInput& input) {
  const AttentionShape& shape = input.problem.shape;
  return fmt::format("{}: L {} B {} S {} Hq {} Hkv {} D {}; mask {}", input.says, input.layers,
                     shape.B, input.tokens, shape.Hq, shape.Hkv, shape.D,
                     InWords(input.problem.mask));
}

std::string RopeInWords(const RopeConfig& config) {
  return fmt::format("{}, theta {}, rotary dimensions {}", Name(config.type), config.rope_theta,
                     config.rotary_dim);
}

int64_t KeyOf(const Laboratory& lab, const std::string& text) {
  if (text == "all") return 0;
  const int64_t key = ReadWhole("--key", text, lab.lengths.front() - 1);
  if (key % lab.input.one_in == 0) return key / lab.input.one_in;
  throw InputError("--key", std::to_string(key),
                   fmt::format("a multiple of --one-in {}", lab.input.one_in));
}

int DriftCommand(const DriftOptions& options) {
  const std::vector<Output> outputs = Outputs(options);
  OutputPlaces places;
  if (!options.input.input.empty()) places.Take(options.input.input, "--input");
  for (const Output& output : outputs) places.TakeOutput(output.path, output.option);
  Laboratory lab;
  lab.rope = options.input.problem;
  lab.pairing = options.pairing;
  lab.stages = options.stages;
  lab.positions = options.positions;
  lab.recipes = ReadRecipes(options.recipes);
  lab.engine = options.common.Engine("drift");
  lab.input = ReadDriftInput(options.input);
  lab.dtypes = ReadDTypes(options.dtypes, lab.input.problem.dtype);
  lab.shifts = ReadShifts(options.shifts, LastPosition(lab.input.problem));
  lab.lengths = ReadLengths(options.lengths, lab.input.tokens);
  DriftReport report;
  report.key = KeyOf(lab, options.key);
  report.all_keys = options.key == "all";
  report.S = lab.input.tokens;
  report.one_in = lab.input.one_in;
  report.has_output = static_cast<bool>(lab.input.v);
  report.input = InputInWords(lab.input);
  report.rope = RopeInWords(ConfigOf(lab, lab.recipes.front(), lab.shifts, lab.lengths.back()));
  report.command = CommandLine(*options.command);
  report.taken = lab.input.defaults;
  Measure(lab, report);
  if (options.stages) FindPositions(lab, report);
  bool to_stdout = false;
  for (const Output& output : outputs) {
    PutText(output.path, output.text(report));
    to_stdout |= output.path == "-";
  }
  if (options.common.quiet || to_stdout) return kPassed;
  for (const std::string& taken : report.taken) fmt::print("taken: {}\n", taken);
  fmt::print("{}", DriftText(report));
  return kPassed;
}

}  // namespace

void AddDrift(CLI::App& app, Action& run) {
  auto options = std::make_shared<DriftOptions>();
  CLI::App* command = app.add_subcommand(
      "drift",
      "The RoPE laboratory: what a recipe's roundings make of relative position.\n\n"
      "  bitanchor drift --generate strong-first-key --shape 1,1024,2,1,64 --recipe "
      "hf-llama-legacy,hf-llama,meta-llama,exact --shifts 0:16,17:16 --lengths 256,1024\n"
      "  bitanchor drift --input qk.safetensors --config config.json --stages --json drift.json\n\n"
      "How far attention moves when all positions move from one shift to the other, which is 0 in "
      "exact arithmetic. RoPE alone rounds; dot products and softmax are f64's.\n");
  options->input.AddTo(*command);
  command
      ->add_option("--recipe", options->recipes,
                   "RoPE recipes of `bitanchor info`, exact (rounds nothing), or all")
      ->capture_default_str();
  command->add_option("--dtype", options->dtypes,
                      "The model's formats, bf16, f16, f32 (default: the input's)");
  command->add_option("--pairing", options->pairing, "half or interleaved (default: the recipe's)")
      ->check(CLI::IsMember({"half", "interleaved"}));
  command->add_option("--shifts", options->shifts, "Pairs of shifts of all positions")
      ->capture_default_str();
  command->add_option("--lengths", options->lengths, "Of the first T tokens (default: all)");
  command->add_option("--key", options->key, "Whose D_logit and D_attention, or all")
      ->capture_default_str();
  command->add_flag(
      "--stages", options->stages,
      "Make each stage exact, and each alone rounded; and from which position on each "
      "costs an ulp of a bf16 logit");
  command
      ->add_option("--positions", options->positions,
                   "How far --stages looks, position by position")
      ->check(CLI::Range(int64_t{1}, kMostPositions))
      ->capture_default_str();
  command->add_option("--json", options->json,
                      "Write the numbers to this file (-: to stdout, instead of the text)");
  command->add_option("--csv", options->csv,
                      "Write them as CSV; with --key all a line for every key");
  command->add_option("--svg", options->svg,
                      "Draw them: by shift, length, key and stage, as far as there are several");
  command->add_option("--html", options->html,
                      "Write tables and drawings as one self-contained page");
  options->command = command;
  options->common.AddTo(*command);
  command->callback([options, &run] { run = [options] { return DriftCommand(*options); }; });
}

}  // namespace bitanchor::tools
