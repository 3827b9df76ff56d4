#include "tools/drift_input.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "lib/drift/strong_first_key.h"
#include "lib/file/capture_metadata.h"
#include "lib/file/capture_tensors.h"
#include "lib/file/capture_writer.h"
#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor::tools {
namespace {

// Token n of the result is token n one_in.
TensorView OneIn(TensorView tensor, int64_t one_in) {
  if (!tensor) return tensor;
  tensor.shape[1] = (tensor.shape[1] - 1) / one_in + 1;
  tensor.stride[1] *= one_in;
  return tensor;
}

// Numbers of the tokens [B, S] that are taken.
std::vector<int64_t> OneIn(const std::vector<int64_t>& numbers, int64_t S, int64_t one_in) {
  std::vector<int64_t> taken;
  for (size_t begin = 0; begin < numbers.size(); begin += static_cast<size_t>(S)) {
    for (int64_t s = 0; s < S; s += one_in) {
      taken.push_back(numbers[begin + static_cast<size_t>(s)]);
    }
  }
  return taken;
}

void RefuseOneInMore(int64_t one_in, int64_t S) {
  if (one_in <= S) return;
  throw InputError("--one-in", fmt::format("{}", one_in),
                   fmt::format("at most the {} tokens there are", S));
}

// input.problem has every token's ids and positions, the tensors have one token in one_in.
void TakeTokens(DriftInput& input) {
  AttentionProblem& problem = input.problem;
  const int64_t S = problem.shape.Skv, taken = input.q.shape[1];
  input.tokens = S;
  problem.shape.Sq = problem.shape.Skv = problem.mask.Sq = problem.mask.Skv = taken;
  for (std::vector<int64_t>* numbers :
       {&problem.mask.q_ids, &problem.mask.k_ids, &problem.q_positions, &problem.k_positions}) {
    *numbers = OneIn(*numbers, S, input.one_in);
  }
  const auto first_layer = [&](TensorView tensor) {
    tensor.shape[0] = problem.shape.B;
    return tensor;
  };
  problem.q = first_layer(input.q);
  problem.k = first_layer(input.k);
  problem.v = input.v ? first_layer(input.v) : problem.k;
}

void RefuseOtherMasks(const DriftInput& input) {
  const MaskSpec& mask = input.problem.mask.spec;
  if (!mask.causal) throw InputError("mask.causal", "false", "true: drift is of causal attention");
  if (mask.window_keys && input.one_in > 1) {
    throw InputError("--one-in", fmt::format("{} with a window", input.one_in), "1");
  }
}

// [B, S, H, D], or [L, B, S, H, D] as [L B, S, H, D].
TensorView ReadLayers(const TensorEntry& entry, Layout layout, int64_t& layers) {
  layers = 1;
  if (entry.shape.size() != 5) return ReadHeads(entry, layout);
  if (layout != Layout::kBSHD) {
    throw InputError(entry.name, "five axes", "four in layout " + std::string(Name(layout)));
  }
  TensorEntry flat = entry;
  layers = entry.shape[0];
  flat.shape = {entry.shape[0] * entry.shape[1], entry.shape[2], entry.shape[3], entry.shape[4]};
  return ReadHeads(flat, layout);
}

void RefuseNonFinite(const char* name, const TensorView& tensor) {
  const auto [B, S, H, D] = tensor.shape;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h) {
        for (int64_t d = 0; d < D; ++d) {
          const float x = tensor.At(b, s, h, d);
          if (std::isfinite(x)) continue;
          throw InputError(name, fmt::format("{} at [{}, {}, {}, {}]", x, b, s, h, d),
                           "finite numbers");
        }
      }
    }
  }
}

void ReadTensors(DriftInput& input, AttentionProblem& problem) {
  const SafetensorsFile& file = input.capture.file;
  const Layout layout = input.capture.layout;
  int64_t k_layers = 1, v_layers = 1;
  input.q = ReadLayers(Required(file, "q"), layout, input.layers);
  input.k = ReadLayers(Required(file, "k"), layout, k_layers);
  if (k_layers != input.layers) {
    throw InputError("k", fmt::format("{} layers", k_layers),
                     fmt::format("{}, as q has", input.layers));
  }
  if (const TensorEntry* const v = file.Find("v")) {
    input.v = ReadLayers(*v, layout, v_layers);
    if (input.v.shape != input.k.shape || v_layers != input.layers) {
      throw InputError("v", "another shape than k's", "the same");
    }
  }
  const auto [B, Sq, Hq, D] = input.q.shape;
  if (input.k.shape[1] != Sq) {
    throw InputError("k", fmt::format("{} tokens", input.k.shape[1]),
                     fmt::format("{}, as q has", Sq));
  }
  problem.dtype = input.q.dtype;
  problem.shape = {B / input.layers, Sq, Sq, Hq, input.k.shape[2], D};
  problem.softmax_scale = D <= kMaxHeadDim ? DefaultSoftmaxScale(D) : 1;  // 1: refused later
}

// The RoPE of a capture, of which drift computes cos and sin at every shift itself.
void ReadCaptureRope(const SafetensorsFile& file, std::optional<RopeConfig> rope,
                     DriftInput& input) {
  for (const char* name : {"cos", "sin", "inv_freq"}) {
    const bool takes = rope && std::string(name) == "inv_freq";
    if (file.Find(name) != nullptr && !takes) {
      throw InputError(name, "a tensor", "none: drift makes its own at every shift");
    }
  }
  if (rope) ReadRopeTables(file, *rope);
  input.rope = std::move(rope);
}

DriftInput FromFile(const DriftInputOptions& options) {
  DriftInput input;
  input.says = PrintablePath(options.input);
  input.one_in = options.one_in;
  Capture& capture = input.capture;
  capture.file = SafetensorsFile::Open(options.input);
  CheckTensorNames(capture.file);
  const TensorEntry& q = Required(capture.file, "q");
  const int64_t D = q.shape.empty() ? 0 : q.shape.back();
  if (D < 1) throw InputError("q", "no axes", "[B, S, H, D] or [L, B, S, H, D]");
  const auto text = capture.file.metadata().find(kCaptureKey);
  const bool is_capture = text != capture.file.metadata().end();
  AttentionProblem& problem = capture.problem;
  std::optional<RopeConfig> rope;
  std::optional<float> scale;
  problem.mask.spec.rule = *MaskRuleFromName(options.mask.empty() ? "full" : options.mask);
  if (is_capture) {
    const CaptureSpec spec = ReadCaptureSpec(text->second, D);
    capture.layout = spec.layout;
    if (options.mask.empty()) problem.mask.spec = spec.mask;
    rope = spec.rope;
    scale = spec.softmax_scale;
  }
  ReadCaptureRope(capture.file, std::move(rope), input);
  ReadTensors(input, problem);
  const auto [B, Sq, Skv, Hq, Hkv, head_dim] = problem.shape;
  (void)Hq, (void)Hkv, (void)head_dim;
  problem.mask.B = B;
  problem.mask.Sq = Sq;
  problem.mask.Skv = Skv;
  problem.rope = RopeConfig{};  // so that there are positions
  ReadTokens(capture);
  problem.rope.reset();
  input.defaults = capture.defaults;
  if (scale && *scale != problem.softmax_scale) {
    input.defaults.push_back(
        fmt::format("softmax_scale: 1/sqrt({}), not the capture's {}", D, *scale));
  }
  input.problem = problem;
  RefuseNonFinite("q", input.q);
  RefuseNonFinite("k", input.k);
  if (input.v) RefuseNonFinite("v", input.v);
  RefuseOneInMore(input.one_in, Skv);
  input.q = OneIn(input.q, input.one_in);
  input.k = OneIn(input.k, input.one_in);
  input.v = OneIn(input.v, input.one_in);
  return input;
}

// The tokens taken of a tensor of shape [B, S, H, D].
OwnedTensor DrawTokens(drift::Draw draw, uint64_t seed, Gen1Tensor which, const Shape4& shape,
                       int64_t one_in) {
  const auto [B, S, H, D] = shape;
  OwnedTensor tensor(DType::kBF16, {B, (S - 1) / one_in + 1, H, D}, Layout::kBSHD);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; s += one_in) {
      for (int64_t h = 0; h < H; ++h) {
        std::byte* const row = tensor.view.Row(b, s / one_in, h);
        for (int64_t d = 0; d < D; ++d) {
          const BF16 x = drift::DrawElement(draw, seed, which, shape, b, s, h, d);
          StoreRounded(DType::kBF16, row + 2 * d, ToF32(x));
        }
      }
    }
  }
  return tensor;
}

constexpr std::array kDraws = {drift::Draw::kNormal, drift::Draw::kStrongFirstKey,
                               drift::Draw::kSinkAndOutliers};

std::vector<std::string> DrawNames() {
  std::vector<std::string> names;
  for (const drift::Draw draw : kDraws) names.emplace_back(drift::Name(draw));
  return names;
}

// Of one of DrawNames.
drift::Draw DrawOf(const std::string& name) {
  return *std::find_if(kDraws.begin(), kDraws.end(),
                       [&](drift::Draw draw) { return drift::Name(draw) == name; });
}

DriftInput FromSeed(const DriftInputOptions& options) {
  const drift::Draw draw = DrawOf(options.generate);
  if (options.problem.shape.empty()) throw InputError("--shape", "none", "B,S,Hq,Hkv,D");
  ProblemOptions problem = options.problem;
  problem.mask = options.mask.empty() ? "full" : options.mask;
  problem.rope = "hf-llama";  // so that there are positions
  problem.rope_theta = problem.rope_config = problem.layer_type = "";
  const ProblemSpec spec = problem.Spec();
  RefuseOneInMore(options.one_in, spec.shape.Skv);
  ProblemSpec taken = spec;  // what is drawn
  taken.shape.Sq = taken.shape.Skv = (spec.shape.Skv - 1) / options.one_in + 1;
  taken.documents.clear();
  (void)Undrawn(taken);
  DriftInput input;
  input.one_in = options.one_in;
  input.problem = WithoutTensors(spec);
  input.problem.rope.reset();
  const auto [B, Sq, Skv, Hq, Hkv, D] = spec.shape;
  input.own_q = DrawTokens(draw, spec.seed, Gen1Tensor::kQ, {B, Sq, Hq, D}, input.one_in);
  input.own_k = DrawTokens(draw, spec.seed, Gen1Tensor::kK, {B, Skv, Hkv, D}, input.one_in);
  input.own_v = DrawTokens(draw, spec.seed, Gen1Tensor::kV, {B, Skv, Hkv, D}, input.one_in);
  input.q = input.own_q.view;
  input.k = input.own_k.view;
  input.v = input.own_v.view;
  input.says = fmt::format("{}, seed {}", drift::Name(draw), spec.seed);
  return input;
}

}  // namespace

void DriftInputOptions::AddTo(CLI::App& app) {
  CLI::Option* const file = app.add_option(
      "--input", input,
      "safetensors: q, k, and v for D_output, [B,S,H,D] or [L,B,S,H,D]; document_ids and "
      "position_ids [B,S]; or a capture");
  CLI::Option* const from_seed = app.add_option("--generate", generate, "Draw q, k and v")
                                     ->check(CLI::IsMember(DrawNames()))
                                     ->excludes(file);
  const auto of_seed = [&](CLI::Option* option) { option->needs(from_seed); };
  of_seed(app.add_option("--shape", problem.shape, "B,S,Hq,Hkv,D"));
  of_seed(app.add_option("--seed", problem.seed, "64 bits")->check(WholeUpTo(UINT64_MAX)));
  of_seed(app.add_option("--documents", problem.documents, "Document lengths, adding up to S"));
  of_seed(app.add_flag("--reset-positions", problem.reset_positions,
                       "Positions start again in each document"));
  app.add_option("--mask", mask,
                 "Causal, and full, document or anchor (default: full, or a "
                 "capture's)")
      ->check(CLI::IsMember({"full", "document", "anchor"}));
  app.add_option("--rope-theta", problem.rope_theta, "RoPE base (default: 10000)")
      ->check(CLI::PositiveNumber);
  app.add_option("--config,--rope-config", problem.rope_config,
                 "A model's config.json, of which RoPE's fields are taken");
  app.add_option("--layer-type", problem.layer_type,
                 "Whose RoPE, where the config has one for each type of layer");
  app.add_option("--one-in", one_in, "Take tokens 0, N, 2N, ... only, where they stand")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
}

DriftInput ReadDriftInput(const DriftInputOptions& options) {
  if (options.input.empty() && options.generate.empty()) {
    throw InputError("drift", "neither --input nor --generate", "one of them");
  }
  DriftInput input = options.input.empty() ? FromSeed(options) : FromFile(options);
  TakeTokens(input);
  RefuseOtherMasks(input);
  return input;
}

}  // namespace bitanchor::tools
