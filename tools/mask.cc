// bitanchor mask: what a mask keeps, before any arithmetic.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "lib/file/capture.h"
#include "lib/file/flex_attention.h"
#include "lib/file/mask_figure.h"
#include "lib/file/packed_file.h"
#include "lib/file/printable.h"
#include "lib/file/write_file.h"
#include "lib/problem/mask_summary.h"
#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/mask_options.h"
#include "tools/mask_text.h"

namespace bitanchor::tools {
namespace {

using Json = nlohmann::ordered_json;

struct MaskCommand {
  std::string file, svg, block_mask, json, py;
  MaskOptions mask;
  int64_t batch = 0, block_q = 128, block_k = 128;
  bool ascii = false, quiet = false;
};

Mask ReadMask(const MaskCommand& options) {
  if (options.file.empty()) return options.mask.Make();
  SafetensorsFile file = SafetensorsFile::Open(options.file);
  if (IsPacked(file)) return ReadPackedMask(file);
  const Capture capture = ReadCapture(std::move(file));
  if (!options.quiet && options.json != "-" && options.py != "-") {
    for (const std::string& taken : capture.defaults) {
      const bool of_mask = taken.starts_with("mask") || taken.starts_with("q_document_ids");
      if (of_mask) fmt::print("taken: {}\n", taken);
    }
  }
  return capture.problem.mask;
}

void CheckOptions(const MaskCommand& options, const Mask& mask) {
  if (options.batch >= mask.B) {
    throw InputError("--batch", fmt::format("{}", options.batch), fmt::format("0..{}", mask.B - 1));
  }
  CheckBlockCount(mask.Sq, mask.Skv, options.block_q, options.block_k);
}

Json OrNull(const std::optional<double>& x) { return x ? Json(*x) : Json(nullptr); }

Json SpeedUpJson(const MaskWork& whole, const MaskWork& work) {
  return {{"by_blocks", OrNull(SpeedUp(whole.visited_blocks, work.visited_blocks))},
          {"by_pairs", OrNull(SpeedUp(whole.kept_pairs, work.kept_pairs))}};
}

std::string JsonText(const MaskCommand& options, const Mask& mask, const MaskSummary& summary) {
  const MaskSpec& spec = mask.spec;
  Json speed_up = {{"over_dense", SpeedUpJson(summary.dense, summary.work)},
                   {"over_dense_causal", nullptr}};
  if (summary.dense_causal)
    speed_up["over_dense_causal"] = SpeedUpJson(*summary.dense_causal, summary.work);
  const Json json = {{"schema", 1},
                     {"mask",
                      {{"rule", Name(spec.rule)},
                       {"causal", spec.causal},
                       {"window_keys", spec.window_keys ? Json(*spec.window_keys) : Json(nullptr)},
                       {"corner", Name(spec.corner)}}},
                     {"Sq", mask.Sq},
                     {"Skv", mask.Skv},
                     {"batch", options.batch},
                     {"batches", mask.B},
                     {"documents", summary.documents},
                     {"anchors", summary.anchors},
                     {"pairs", summary.pairs},
                     {"kept_pairs", summary.work.kept_pairs},
                     {"density", static_cast<double>(summary.work.kept_pairs) /
                                     static_cast<double>(summary.pairs)},
                     {"queries_that_see_nothing", summary.blind_queries},
                     {"first_query_that_sees_nothing",
                      summary.first_blind ? Json(*summary.first_blind) : Json(nullptr)},
                     {"block_size", {options.block_q, options.block_k}},
                     {"blocks",
                      {{"full", summary.blocks.full},
                       {"partial", summary.blocks.partial},
                       {"empty", summary.blocks.empty}}},
                     {"speed_up", speed_up}};
  return json.dump(2) + "\n";
}

std::string Times(int64_t whole, int64_t work) {
  const std::optional<double> times = SpeedUp(whole, work);
  if (!times) return "no work";
  return *times < 1000 ? fmt::format("{:.3g}x", *times) : fmt::format("{:.0f}x", *times);
}

void PrintSpeedUp(const char* over, const MaskWork& whole, const MaskWork& work) {
  fmt::print("  {:<18} {:>10} {:>10}\n", over, Times(whole.visited_blocks, work.visited_blocks),
             Times(whole.kept_pairs, work.kept_pairs));
}

void PrintText(const MaskCommand& options, const Mask& mask, const MaskSummary& summary,
               const BlockMap& map) {
  fmt::print("mask: {}; Sq {}, Skv {}", InWords(mask), mask.Sq, mask.Skv);
  if (mask.spec.rule != MaskRule::kFull) fmt::print(", documents {}", summary.documents);
  if (mask.spec.rule == MaskRule::kAnchor) fmt::print(", anchor tokens {}", summary.anchors);
  if (mask.B > 1) fmt::print("; batch {} of {}", options.batch, mask.B);
  fmt::print(
      "\nkept pairs: {} of {} ({})\n", summary.work.kept_pairs, summary.pairs,
      Percent(static_cast<double>(summary.work.kept_pairs), static_cast<double>(summary.pairs)));
  if (summary.first_blind) {
    fmt::print("queries that see nothing: {} of {}, the first is {}\n", summary.blind_queries,
               mask.Sq, *summary.first_blind);
  }
  const BlockCounts& blocks = summary.blocks;
  fmt::print("blocks of {} x {}: full {}, partial {}, empty {}; visited {} of {} ({})\n",
             options.block_q, options.block_k, blocks.full, blocks.partial, blocks.empty,
             blocks.Visited(), blocks.All(),
             Percent(static_cast<double>(blocks.Visited()), static_cast<double>(blocks.All())));
  fmt::print("expected speed-up     by blocks   by pairs\n");
  PrintSpeedUp("over dense", summary.dense, summary.work);
  if (summary.dense_causal) PrintSpeedUp("over dense causal", *summary.dense_causal, summary.work);
  fmt::print(
      "  (blocks: all that are visited take the same time; pairs: what no kernel can exceed)\n");
  fmt::print("\n{}",
             DrawMask(mask, options.batch, map, options.block_q, options.block_k, options.ascii));
}

// To a file, or with "-" to stdout in place of the text.
void Write(const std::string& path, const std::string& text) {
  if (path == "-") {
    fmt::print("{}", text);
  } else if (!path.empty()) {
    WriteFile(path, text);
  }
}

int DrawOne(const MaskCommand& options) {
  if (options.json == "-" && options.py == "-") {
    throw InputError("--py", "- for --json as well", "one of them on stdout");
  }
  const Mask mask = ReadMask(options);
  CheckOptions(options, mask);
  if (!options.svg.empty()) {
    WriteFile(options.svg, MaskFigure(mask, {options.batch, options.block_q, options.block_k, ""}));
  }
  if (!options.block_mask.empty()) {
    WriteFlexBlockMask(options.block_mask,
                       MakeFlexBlockMask(mask, options.block_q, options.block_k), mask);
  }
  if (!options.py.empty()) Write(options.py, FlexMaskMod(mask));
  const BlockMap map = MapBlocks(mask, options.batch, options.block_q, options.block_k);
  const MaskSummary summary = Summarise(mask, options.batch, options.block_q, options.block_k, map);
  if (!options.json.empty()) Write(options.json, JsonText(options, mask, summary));
  if (!options.quiet && options.json != "-" && options.py != "-")
    PrintText(options, mask, summary, map);
  return kPassed;
}

}  // namespace

void AddMask(CLI::App& app, Action& run) {
  auto options = std::make_shared<MaskCommand>();
  CLI::App* command = app.add_subcommand(
      "mask",
      "Draw a mask: what it keeps, block by block, and what skipping the rest saves.\n\n"
      "  bitanchor mask --documents 256,512,256 --mask anchor --svg mask.svg\n"
      "  bitanchor mask capture.safetensors --block-mask block_mask.safetensors --py mask.py\n");
  options->mask.AddTo(*command);
  CLI::Option* const file = command->add_option(
      "file", options->file, "A capture or problem, or what `pack` wrote, whose mask it is");
  for (CLI::Option* other : command->get_options()) {
    if (other != file && other != command->get_help_ptr()) file->excludes(other);
  }
  command->add_option("--block-q", options->block_q, "Queries of a block")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--block-k", options->block_k, "Keys of a block")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  command->add_option("--batch", options->batch, "Which batch is drawn and counted")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  command->add_flag("--ascii", options->ascii, "Draw with ASCII alone");
  command->add_option("--svg", options->svg, "Write a picture to this file");
  command->add_option("--block-mask", options->block_mask,
                      "Write the tensors of FlexAttention's BlockMask, all batches, to this "
                      "safetensors file");
  command->add_option("--py", options->py,
                      "Write FlexAttention's mask_mod as Python (-: to stdout, instead of the "
                      "text)");
  command->add_option("--json", options->json,
                      "Write the numbers to this file (-: to stdout, instead of the text)");
  command->add_flag("--quiet", options->quiet, "Print nothing");
  command->callback([options, &run] { run = [options] { return DrawOne(*options); }; });
}

}  // namespace bitanchor::tools
