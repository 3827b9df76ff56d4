#include "tools/mistaken_rope.h"

#include <algorithm>
#include <cstring>
#include <functional>

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
                      const RopeMistake& mistake, const simd::EngineOptions& options) {
  OwnedTensor out(in.dtype, in.shape, Layout::kBSHD);
  const auto [B, S, H, D] = in.shape;
  const size_t row_bytes = static_cast<size_t>(D) * DTypeBytes(in.dtype);
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 0; s < S; ++s) {
      for (int64_t h = 0; h < H; ++h)
        std::memcpy(out.view.Row(b, s, h), in.Row(b, s, h), row_bytes);
    }
  }
  for (int n = 0; n < mistake.times; ++n) {
    simd::ApplyRope(mistake.config, mistake.recipe, out.view, positions, options, out.view,
                    mistake.direction);
  }
  return out;
}

}  // namespace

RopeMistake RightRotation(const AttentionProblem& problem) {
  return {"",
          "",
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
  add("rope-missing").times = 0;
  RopePairing& pairing = add("rope-pairing").config.pairing;
  pairing = pairing == RopePairing::kHalf ? RopePairing::kInterleaved : RopePairing::kHalf;
  add("rope-direction").direction = RopeDirection::kBackward;
  add("rope-applied-twice").times = 2;
  AddPositionMistakes(problem, right, all);
  if (config.cos.empty()) add("rope-angle-rounded").recipe.angle = StageFormat::kBF16;
  // Three roundings take tables of the model's type alone.
  if (right.recipe.apply != RopeApply::kThreeRoundings || problem.dtype == DType::kF32)
    add("rope-table-rounded").recipe.table = StageFormat::kBF16;
  return all;
}

MistakenRotation Rotate(const AttentionProblem& problem, const RopeMistake& mistake,
                        const simd::EngineOptions& options) {
  return {RotatedBy(problem.q, mistake.q_positions, mistake, options),
          RotatedBy(problem.k, mistake.k_positions, mistake, options)};
}

}  // namespace bitanchor::tools
