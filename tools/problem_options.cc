#include "tools/problem_options.h"

#include <fmt/format.h>
#include <unistd.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "lib/file/capture_metadata.h"
#include "lib/file/mapped_file.h"
#include "lib/file/printable.h"
#include "lib/file/strict_json.h"
#include "lib/problem/generate.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/tensor/error.h"

namespace bitanchor::tools {
namespace {

DType DTypeOf(const std::string& name) {
  return name == "bf16" ? DType::kBF16 : name == "f16" ? DType::kF16 : DType::kF32;
}

AttentionShape ShapeOf(const ProblemOptions& options) {
  const std::vector<int64_t> sizes = Numbers("--shape", options.shape);
  if (sizes.size() != 5)
    throw InputError("--shape", options.shape.substr(0, 60), "five numbers: B,S,Hq,Hkv,D");
  const int64_t Skv = options.kv_length > 0 ? options.kv_length : sizes[1];
  return {sizes[0], sizes[1], Skv, sizes[2], sizes[3], sizes[4]};
}

// Not that it would fit beside everything else: only what could never be.
void CheckMemory(const ProblemSpec& spec) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = spec.shape;
  const double elements = static_cast<double>(B) * static_cast<double>(D) *
                          (static_cast<double>(Sq) * static_cast<double>(Hq) * (spec.gradient + 1) +
                           static_cast<double>(Skv) * static_cast<double>(Hkv) * 2);
  // Of a document's id and a position, 8 bytes each; a sequence without mask or rope has neither.
  const double tokens = spec.mask.rule == MaskRule::kFull && !spec.rope
                            ? 0
                            : static_cast<double>(B) * (static_cast<double>(Sq + Skv)) * 16;
  const double want = elements * static_cast<double>(DTypeBytes(spec.dtype)) + tokens;
  const double here =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  if (want > here) {
    throw InputError("shape", fmt::format("a problem of {:.3g} bytes", want),
                     fmt::format("one that fits this machine's {:.3g}", here));
  }
}

}  // namespace

std::optional<RopeConfig> RopeOf(const ProblemOptions& options, int64_t head_dim) {
  if (options.rope.empty()) {
    if (!options.rope_config.empty())
      throw InputError("--rope-config", "no --rope", "a RoPE recipe to go with it");
    return std::nullopt;
  }
  if (FindRopeRecipe(options.rope) == nullptr)
    throw InputError("--rope", options.rope.substr(0, 60), "a RoPE recipe of `bitanchor info`");
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

CLI::Validator WholeUpTo(uint64_t most) {
  const auto check = [most](const std::string& text) {
    uint64_t value = 0;
    const char* const end = text.data() + text.size();
    const auto result = std::from_chars(text.data(), end, value);
    if (result.ec == std::errc() && result.ptr == end && value <= most) return std::string();
    return fmt::format("got {}, want a whole number, 0..{}", Quoted(text, 80), most);
  };
  return CLI::Validator(check, fmt::format("0..{}", most));
}

std::vector<int64_t> Numbers(const std::string& option, const std::string& text) {
  std::vector<int64_t> values;
  const char *at = text.data(), *end = at + text.size();
  while (true) {
    int64_t value = 0;
    const auto [next, error] = std::from_chars(at, end, value);
    if (error != std::errc() || value < 1 || (next != end && *next != ',')) {
      throw InputError(option, "\"" + text.substr(0, 60) + "\"",
                       "whole numbers >= 1, separated by commas");
    }
    values.push_back(value);
    if (next == end) return values;
    at = next + 1;
  }
}

void ProblemOptions::AddMaskTo(CLI::App& app) {
  app.add_option("--documents", documents,
                 "Document lengths, adding up to the number of keys; rule anchor takes the first "
                 "token as anchor");
  app.add_option("--mask", mask, "Mask rule")
      ->check(CLI::IsMember({"full", "document", "anchor"}))
      ->capture_default_str();
  app.add_flag("--not-causal,--no-causal", not_causal, "Queries see later keys too");
  app.add_option("--window,--window-keys", window, "Window in keys, the query's own included")
      ->check(CLI::PositiveNumber);
  app.add_option("--corner", corner, "Where the diagonal hangs when Sq != Skv")
      ->check(CLI::IsMember({"top-left", "bottom-right"}))
      ->capture_default_str();
}

void ProblemOptions::AddTo(CLI::App& app) {
  app.add_option("--shape", shape, "B,S,Hq,Hkv,D");
  app.add_option("--kv-length", kv_length, "Skv, where it is not S")->check(CLI::PositiveNumber);
  AddMaskTo(app);
  app.add_flag("--do", gradient,
               "Draw do, the gradient of o, too, so that there are gradients of q, k and v");
  app.add_option("--dtype", dtype, "Of q, k, v and do")
      ->check(CLI::IsMember({"bf16", "f16", "f32"}))
      ->capture_default_str();
  app.add_option("--rope", rope, "RoPE recipe (default: none)");
  app.add_option("--rope-theta", rope_theta, "RoPE base (default: 10000)")
      ->check(CLI::PositiveNumber);
  app.add_option("--rope-config", rope_config,
                 "A model's config.json, of which RoPE's fields are taken");
  app.add_option("--layer-type", layer_type,
                 "Whose RoPE, where the config has one for each type of layer");
  app.add_flag("--reset-positions", reset_positions, "Positions start again in each document");
  app.add_option("--seed", seed, "64 bits")->check(WholeUpTo(UINT64_MAX))->capture_default_str();
}

MaskSpec ProblemOptions::MaskRules() const {
  MaskSpec rules;
  rules.rule = *MaskRuleFromName(mask);
  rules.causal = !not_causal;
  if (window > 0) rules.window_keys = window;
  rules.corner = *CornerFromName(corner);
  return rules;
}

ProblemSpec ProblemOptions::Spec() const {
  ProblemSpec spec;
  spec.shape = ShapeOf(*this);
  CheckSizes(spec.shape);
  const int64_t D = spec.shape.D;
  spec.dtype = DTypeOf(dtype);
  spec.mask = MaskRules();
  spec.softmax_scale = D <= kMaxHeadDim ? DefaultSoftmaxScale(D) : 1;  // 1: refused later
  spec.rope = RopeOf(*this, D);
  spec.gradient = gradient;
  if (!documents.empty()) spec.documents = Numbers("--documents", documents);
  spec.reset_positions = reset_positions;
  spec.seed = seed;
  return spec;
}

AttentionProblem Undrawn(const ProblemSpec& spec) {
  CheckSizes(spec.shape);
  CheckMemory(spec);
  return WithoutTensors(spec);
}

DrawnProblem Draw(const ProblemSpec& spec, Layout layout) {
  DrawnProblem drawn{Undrawn(spec), {}, {}, {}, {}};
  AttentionProblem& problem = drawn.problem;
  const auto draw = [&](Gen1Tensor which, const Shape4& shape) {
    OwnedTensor tensor(spec.dtype, shape, layout);
    FillGen1(spec.seed, which, tensor.view);
    return tensor;
  };
  drawn.q = draw(Gen1Tensor::kQ, problem.q.shape);
  drawn.k = draw(Gen1Tensor::kK, problem.k.shape);
  drawn.v = draw(Gen1Tensor::kV, problem.v.shape);
  if (spec.gradient) drawn.dout = draw(Gen1Tensor::kDo, problem.q.shape);
  problem.q = drawn.q.view;
  problem.k = drawn.k.view;
  problem.v = drawn.v.view;
  return drawn;
}

}  // namespace bitanchor::tools
