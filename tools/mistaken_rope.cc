#include "tools/mistaken_rope.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <utility>

#include "simd/rope.h"

namespace bitanchor::tools {
namespace {

using Positions = std::function<int64_t(int64_t b, int64_t key)>;

// Of the keys [B, Skv] and of the queries [B, Sq], which stand at keys; where a query stands at
// none, as if the keys went on.
void SetPositions(const AttentionProblem& problem, const Positions& at, RopeMistake& mistake) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const int64_t off = problem.mask.Offset();
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t j = 0; j < Skv; ++j) mistake.k_positions[b * Skv + j] = at(b, j);
    for (int64_t i = 0; i < Sq; ++i) {
      mistake.q_positions[b * Sq + i] = at(b, std::clamp<int64_t>(i + off, 0, Skv - 1)) +
                                        (i + off - std::clamp<int64_t>(i + off, 0, Skv - 1));
    }
  }
}

// Positions that start again in each run of one document id; the anchors before the first document
// are a run of their own, or the start of that document.
Positions Reset(const Mask& mask, bool anchors_apart) {
  std::vector<int64_t> positions(mask.k_ids.size());
  for (int64_t b = 0; b < mask.B; ++b) {
    int64_t start = 0;
    for (int64_t j = 0; j < mask.Skv; ++j) {
      const int64_t at = b * mask.Skv + j;
      const bool changes = j > 0 && mask.k_ids[at] != mask.k_ids[at - 1];
      if (changes && (mask.k_ids[at - 1] != 0 || anchors_apart)) start = j;
      positions[at] = j - start;
    }
  }
  const int64_t Skv = mask.Skv;
  return [positions, Skv](int64_t b, int64_t key) { return positions[b * Skv + key]; };
}

// Whether all are positions, and the capture's own tables hold them.
bool Usable(const RopeMistake& mistake) {
  const int64_t half = mistake.config.rotary_dim / 2;
  const int64_t rows = mistake.config.cos.empty()
                           ? int64_t{1} << 31
                           : static_cast<int64_t>(mistake.config.cos.size()) / half;
  const auto fits = [&](int64_t position) { return 0 <= position && position < rows; };
  return std::all_of(mistake.q_positions.begin(), mistake.q_positions.end(), fits) &&
         std::all_of(mistake.k_positions.begin(), mistake.k_positions.end(), fits);
}

void AddPositionMistakes(const AttentionProblem& problem, const RopeMistake& right,
                         std::vector<RopeMistake>& all) {
  const auto add = [&](const char* id, const std::string& where, const auto& change) {
    RopeMistake mistake = right;
    mistake.id = id;
    mistake.where = where;
    change(mistake);
    if (Usable(mistake)) all.push_back(std::move(mistake));
  };
  add("positions-not-reset", "0, 1, 2, ... whatever was given", [&](RopeMistake& m) {
    SetPositions(
        problem, [](int64_t, int64_t key) { return key; }, m);
  });
  if (problem.mask.spec.rule != MaskRule::kFull) {
    add("positions-reset", "from 0 in each document",
        [&](RopeMistake& m) { SetPositions(problem, Reset(problem.mask, true), m); });
    add("positions-reset", "from 0 in each document, anchors counted into the first",
        [&](RopeMistake& m) { SetPositions(problem, Reset(problem.mask, false), m); });
  }
  const auto shift = [](int64_t by, std::vector<int64_t>& positions) {
    for (int64_t& position : positions) position += by;
  };
  for (const int64_t by : {1, -1}) {
    const std::string signed_by = by > 0 ? "+1" : "-1";
    add("positions-shifted", "those of queries by " + signed_by,
        [&](RopeMistake& m) { shift(by, m.q_positions); });
    add("positions-shifted", "those of keys by " + signed_by,
        [&](RopeMistake& m) { shift(by, m.k_positions); });
    add("positions-offset", "by " + signed_by, [&](RopeMistake& m) {
      shift(by, m.q_positions);
      shift(by, m.k_positions);
    });
  }
}

OwnedTensor RotatedBy(const TensorView& in, const std::vector<int64_t>& positions,
                      const RopeMistake& mistake, const simd::EngineOptions& options,
                      int64_t tokens_back = 0) {
  OwnedTensor out(in.dtype, in.shape, Layout::kBSHD);
  const auto [B, S, H, D] = in.shape;
  const size_t row_bytes = static_cast<size_t>(D) * DTypeBytes(in.dtype);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      const int64_t from = ((s - tokens_back) % S + S) % S;
      for (int64_t h = 0; h < H; ++h)
        std::memcpy(out.view.Row(b, s, h), in.Row(b, from, h), row_bytes);
    }
  }
  for (int n = 0; n < mistake.times; ++n) {
    simd::ApplyRope(mistake.config, mistake.recipe, out.view, positions, options, out.view,
                    mistake.direction);
  }
  return out;
}

bool ComputesFrequencies(const RopeConfig& config) {
  return config.cos.empty() && config.inv_freq.empty();
}

RopeMistake WithBase(const RopeMistake& right, double rope_theta) {
  RopeMistake mistake = right;
  mistake.id = "rope-theta";
  mistake.where = fmt::format("{}", rope_theta);
  mistake.config.rope_theta = rope_theta;
  return mistake;
}

// Hugging Face's default, or the one that most models took after it.
double UsualBase(const RopeConfig& config) { return config.rope_theta == 1e4 ? 5e5 : 1e4; }

void AddConfigMistakes(const RopeMistake& right, std::vector<RopeMistake>& all) {
  const RopeConfig& config = right.config;
  if (!ComputesFrequencies(config)) return;
  all.push_back(WithBase(right, UsualBase(config)));
  if (config.type == RopeType::kDefault) return;
  all.push_back(right);
  all.back().id = "rope-scaling-ignored";
  all.back().config.type = RopeType::kDefault;
  if (AttentionFactor(config) == 1) return;
  all.push_back(right);
  all.back().id = "rope-scaling-ignored";
  all.back().where = "its attention factor alone";
  all.back().config.attention_factor = 1;
}

// Positions, integers all, as a 16-bit tensor of them holds them.
void AddRoundedPositions(const RopeMistake& right, std::vector<RopeMistake>& all) {
  const struct {
    StageFormat format;
    const char* where;
  } formats[] = {{StageFormat::kBF16, "to BF16"}, {StageFormat::kTF32, "to F16 or TF32"}};
  for (const auto& [format, where] : formats) {
    RopeMistake mistake = right;
    mistake.id = "rope-position-rounded";
    mistake.where = where;
    for (std::vector<int64_t>* of : {&mistake.q_positions, &mistake.k_positions}) {
      for (int64_t& at : *of) at = static_cast<int64_t>(RoundTo(format, static_cast<double>(at)));
    }
    const bool differs =
        mistake.q_positions != right.q_positions || mistake.k_positions != right.k_positions;
    if (differs && Usable(mistake)) all.push_back(std::move(mistake));
  }
}

}  // namespace

RopeMistake RightRotation(const AttentionProblem& problem) {
  return {"",
          "",
          problem.q,
          problem.k,
          problem.v,
          *problem.rope,
          *FindRopeRecipe(problem.rope->recipe),
          problem.q_positions,
          problem.k_positions};
}

std::vector<RopeMistake> RopeMistakes(const AttentionProblem& problem) {
  const RopeMistake right = RightRotation(problem);
  const RopeConfig& config = right.config;
  std::vector<RopeMistake> all;
  const auto add = [&](const char* id) -> RopeMistake& {
    all.push_back(right);
    all.back().id = id;
    return all.back();
  };
  RopeMistake& swapped = add("keys-values-swapped");
  std::swap(swapped.k, swapped.v);
  swapped.where = "before RoPE";
  add("rope-missing").times = 0;
  RopePairing& pairing = add("rope-pairing").config.pairing;
  pairing = pairing == RopePairing::kHalf ? RopePairing::kInterleaved : RopePairing::kHalf;
  add("rope-direction").direction = RopeDirection::kBackward;
  add("rope-applied-twice").times = 2;
  AddConfigMistakes(right, all);
  AddPositionMistakes(problem, right, all);
  AddRoundedPositions(right, all);
  if (config.cos.empty()) add("rope-angle-rounded").recipe.angle = StageFormat::kBF16;
  // Three roundings take tables of the model's type alone.
  if (right.recipe.apply != RopeApply::kThreeRoundings || problem.dtype == DType::kF32)
    add("rope-table-rounded").recipe.table = StageFormat::kBF16;
  return all;
}

std::vector<RopeMistake> OtherBases(const AttentionProblem& problem) {
  const RopeMistake right = RightRotation(problem);
  std::vector<RopeMistake> all;
  if (!ComputesFrequencies(right.config)) return all;
  for (const double base : {1e4, 5e4, 1e5, 1.5e5, 2.5e5, 5e5, 1e6, 2e6, 5e6, 8e6, 1e7, 1e8}) {
    if (base != right.config.rope_theta && base != UsualBase(right.config))
      all.push_back(WithBase(right, base));
  }
  return all;
}

MistakenRotation Rotate(const RopeMistake& mistake, const simd::EngineOptions& options) {
  return {RotatedBy(mistake.q, mistake.q_positions, mistake, options),
          RotatedBy(mistake.k, mistake.k_positions, mistake, options)};
}

OwnedTensor RotatedFromBefore(const AttentionProblem& problem, int64_t back,
                              const simd::EngineOptions& options) {
  return RotatedBy(problem.k, problem.k_positions, RightRotation(problem), options, back);
}

}  // namespace bitanchor::tools
