// bitanchor gen: a problem from a seed.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>
#include <numeric>

#include "lib/file/capture_metadata.h"
#include "lib/file/capture_writer.h"
#include "lib/file/mapped_file.h"
#include "lib/file/strict_json.h"
#include "lib/problem/attention_problem.h"
#include "lib/problem/generate.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/compute.h"

namespace bitanchor::tools {
namespace {

struct GenOptions {
  std::string out, shape, documents, mask = "full", dtype = "bf16", layout = "bshd",
                                     corner = "top-left";
  std::string rope, rope_theta, rope_config, layer_type;
  bool not_causal = false, reset_positions = false, gradient = false;
  int64_t window = 0, kv_length = 0;
  uint64_t seed = 0;
  bool quiet = false;
};

std::vector<int64_t> Numbers(const std::string& field, const std::string& text) {
  std::vector<int64_t> values;
  const char *at = text.data(), *end = at + text.size();
  while (true) {
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 1 || (next != end && *next != ',')) {
      throw InputError(field, "\"" + text.substr(0, 60) + "\"",
                       "whole numbers >= 1, separated by commas");
    }
    values.push_back(value);
    if (next == end) return values;
    at = next + 1;
  }
}

DType DTypeOf(const std::string& name) {
  return name == "bf16" ? DType::kBF16 : name == "f16" ? DType::kF16 : DType::kF32;
}

Layout LayoutOf(const std::string& name) { return name == "bhsd" ? Layout::kBHSD : Layout::kBSHD; }

// Ids and positions of one sequence of `S` keys. With rule anchor the first token is the anchor, id
// 0, and takes its place out of the first document's length.
struct Sequence {
  std::vector<int64_t> ids, positions;
};

Sequence Layouts(const GenOptions& options, MaskRule rule, int64_t S) {
  std::vector<int64_t> lengths = {S};
  if (!options.documents.empty()) lengths = Numbers("--documents", options.documents);
  int64_t sum = 0;
  for (const int64_t length : lengths) {
    if (length > S)
      throw InputError("--documents", std::to_string(length), fmt::format("lengths up to {}", S));
    sum += length;
    if (sum > S) break;
  }
  if (sum != S) {
    throw InputError("--documents",
                     fmt::format("a sum of {}{}", sum > S ? "more than " : "", sum > S ? S : sum),
                     fmt::format("{}, the number of keys", S));
  }
  Sequence sequence;
  for (size_t n = 0; n < lengths.size(); ++n) {
    for (int64_t i = 0; i < lengths[n]; ++i) {
      const bool anchor = rule == MaskRule::kAnchor && n == 0 && i == 0;
      const int64_t first = rule == MaskRule::kAnchor ? 1 : 0;
      sequence.ids.push_back(anchor ? 0 : first + static_cast<int64_t>(n));
      sequence.positions.push_back(
          options.reset_positions ? i : static_cast<int64_t>(sequence.positions.size()));
    }
  }
  return sequence;
}

std::vector<int64_t> Repeat(const std::vector<int64_t>& one, int64_t begin, int64_t count,
                            int64_t B) {
  std::vector<int64_t> all;
  for (int64_t b = 0; b < B; ++b)
    all.insert(all.end(), one.begin() + begin, one.begin() + begin + count);
  return all;
}

// As a capture's metadata would say it.
RopeConfig Rope(const GenOptions& options, int64_t head_dim) {
  nlohmann::json rope = {{"recipe", options.rope}};
  if (!options.rope_theta.empty()) rope["rope_theta"] = std::stod(options.rope_theta);
  if (!options.rope_config.empty()) {
    const MappedFile file = MappedFile::Open(options.rope_config);
    const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                                file.bytes().size());
    rope["config"] = ParseStrictJson(text, options.rope_config);
  }
  if (!options.layer_type.empty()) rope["layer_type"] = options.layer_type;
  std::vector<std::string> defaults;
  return ReadRopeConfig(rope, head_dim, defaults);
}

void SetMask(const GenOptions& options, AttentionProblem& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  (void)Hq, (void)Hkv;
  Mask& mask = problem.mask;
  mask.B = B;
  mask.Sq = Sq;
  mask.Skv = Skv;
  mask.spec.rule = *MaskRuleFromName(options.mask);
  mask.spec.causal = !options.not_causal;
  if (options.window > 0) mask.spec.window_keys = options.window;
  mask.spec.corner = *CornerFromName(options.corner);
  if (options.rope.empty() && !options.rope_config.empty())
    throw InputError("--rope-config", "no --rope", "a RoPE recipe to go with it");
  if (mask.spec.rule == MaskRule::kFull && options.documents.empty() && options.rope.empty())
    return;
  const Sequence sequence = Layouts(options, mask.spec.rule, Skv);
  const int64_t off = mask.Offset();
  if (off < 0 || off + Sq > Skv) {
    throw InputError("--shape", fmt::format("{} queries for {} keys", Sq, Skv),
                     "a key for every query");
  }
  if (mask.spec.rule != MaskRule::kFull) {
    mask.k_ids = Repeat(sequence.ids, 0, Skv, B);
    mask.q_ids = Repeat(sequence.ids, off, Sq, B);
  }
  if (options.rope.empty()) return;
  problem.k_positions = Repeat(sequence.positions, 0, Skv, B);
  problem.q_positions = Repeat(sequence.positions, off, Sq, B);
  if (FindRopeRecipe(options.rope) == nullptr)
    throw InputError("--rope", options.rope.substr(0, 60), "a RoPE recipe of `bitanchor info`");
  problem.rope = Rope(options, D);
  problem.rope->sequence_length = LastPosition(problem) + 1;
}

int Gen(const GenOptions& options) {
  const std::vector<int64_t> sizes = Numbers("--shape", options.shape);
  if (sizes.size() != 5)
    throw InputError("--shape", options.shape.substr(0, 60), "five numbers: B,S,Hq,Hkv,D");
  AttentionProblem problem;
  const int64_t Skv = options.kv_length > 0 ? options.kv_length : sizes[1];
  problem.shape = {sizes[0], sizes[1], Skv, sizes[2], sizes[3], sizes[4]};
  problem.dtype = DTypeOf(options.dtype);
  const auto [B, Sq, Skv_, Hq, Hkv, D] = problem.shape;
  (void)Skv_;
  // Shapes and ids first, on tensors that hold nothing yet: nothing is allocated for a problem that
  // is refused.
  int64_t elements = 1;
  for (const int64_t size : {B, std::max(Sq, Skv), std::max(Hq, Hkv), D}) {
    if (__builtin_mul_overflow(elements, size, &elements) || elements > (int64_t{1} << 40)) {
      throw InputError("--shape", options.shape.substr(0, 60), "at most 2^40 elements a tensor");
    }
  }
  SetMask(options, problem);
  problem.softmax_scale = D <= kMaxHeadDim ? DefaultSoftmaxScale(D) : 1;
  const Layout layout = LayoutOf(options.layout);
  const std::byte nothing{};
  problem.q = DenseView(problem.dtype, &nothing, Shape4{B, Sq, Hq, D}, layout);
  problem.k = DenseView(problem.dtype, &nothing, Shape4{B, Skv, Hkv, D}, layout);
  problem.v = problem.k;
  Validate(problem);
  OwnedTensor q(problem.dtype, {B, Sq, Hq, D}, layout), k(problem.dtype, {B, Skv, Hkv, D}, layout);
  OwnedTensor v(problem.dtype, {B, Skv, Hkv, D}, layout);
  FillGen1(options.seed, Gen1Tensor::kQ, q.view);
  FillGen1(options.seed, Gen1Tensor::kK, k.view);
  FillGen1(options.seed, Gen1Tensor::kV, v.view);
  problem.q = q.view;
  problem.k = k.view;
  problem.v = v.view;
  std::vector<OutTensor> tensors = ProblemTensors(problem, layout);
  OwnedTensor dout;
  if (options.gradient) {
    dout = OwnedTensor(problem.dtype, {B, Sq, Hq, D}, layout);
    FillGen1(options.seed, Gen1Tensor::kDo, dout.view);
    tensors.push_back(OutView("do", dout.view, layout));
  }
  WriteSafetensors(options.out, tensors, {{kCaptureKey, CaptureMetadata(problem, layout, "")}});
  if (!options.quiet) {
    fmt::print("{}: {} seed {}, {} B {} Sq {} Skv {} Hq {} Hkv {} D {}, mask {}\n", options.out,
               kGen1Name, options.seed, options.dtype, B, Sq, Skv, Hq, Hkv, D, options.mask);
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
  command->add_option("--shape", options->shape, "B,S,Hq,Hkv,D")->required();
  command->add_option("--kv-length", options->kv_length, "Skv, where it is not S")
      ->check(CLI::PositiveNumber);
  command->add_option("--documents", options->documents,
                      "Document lengths, adding up to the number of keys; rule anchor takes the "
                      "first token as anchor");
  command->add_option("--mask", options->mask, "Mask rule")
      ->check(CLI::IsMember({"full", "document", "anchor"}))
      ->capture_default_str();
  command->add_flag("--not-causal", options->not_causal, "Queries see later keys too");
  command->add_option("--window", options->window, "Window in keys, the query's own included")
      ->check(CLI::PositiveNumber);
  command->add_option("--corner", options->corner, "Where the diagonal hangs when Sq != Skv")
      ->check(CLI::IsMember({"top-left", "bottom-right"}))
      ->capture_default_str();
  command->add_flag("--do", options->gradient,
                    "Draw do, the gradient of o, too, so that `run` gives gradients");
  command->add_option("--dtype", options->dtype, "Of q, k, v and do")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
  command->add_option("--layout", options->layout, "Order of the axes")
      ->check(CLI::IsMember({"bshd", "bhsd"}))
      ->capture_default_str();
  command->add_option("--rope", options->rope, "RoPE recipe (default: none)");
  command->add_option("--rope-theta", options->rope_theta, "RoPE base (default: 10000)")
      ->check(CLI::PositiveNumber);
  command->add_option("--rope-config", options->rope_config,
                      "A model's config.json, of which RoPE's fields are taken");
  command->add_option("--layer-type", options->layer_type,
                      "Whose RoPE, where the config has one for each type of layer");
  command->add_flag("--reset-positions", options->reset_positions,
                    "Positions start again in each document");
  command->add_option("--seed", options->seed, "64 bits")->capture_default_str();
  command->add_flag("--quiet", options->quiet, "Print nothing");
  command->callback([options, &run] { run = [options] { return Gen(*options); }; });
}

}  // namespace bitanchor::tools
