#include "lib/replay/sequences.h"

#include <algorithm>
#include <map>
#include <numeric>
#include <string>

#include "lib/tensor/error.h"

namespace bitanchor::replay {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return a <= 0 ? 0 : (a + b - 1) / b; }

// What the schedules' kernels have no code for.
Tile CheckedTile(const AttentionProblem& problem, const Schedule& schedule, bool causal) {
  const AttentionShape& shape = problem.shape;
  const MaskSpec& mask = problem.mask.spec;
  if (problem.dtype == DType::kF32) {
    throw InputError("q", "dtype F32", "BF16 or F16, which " + schedule.name + " takes");
  }
  if (mask.window_keys) {
    throw InputError("mask.window_keys", std::to_string(*mask.window_keys),
                     "no window: " + schedule.name + " has none");
  }
  const std::optional<Tile> tile = schedule.TileOf(shape.D, causal);
  if (!tile) {
    std::string dims;
    for (const HeadDimTiles& row : schedule.tiles) {
      dims += (dims.empty() ? "" : " or ") + std::to_string(row.head_dim);
    }
    throw InputError("q", "head dimension " + std::to_string(shape.D),
                     dims + ", which " + schedule.name + " has tiles for");
  }
  if (mask.rule != MaskRule::kFull && shape.Sq == shape.Skv &&
      problem.mask.q_ids != problem.mask.k_ids) {
    throw InputError("q_document_ids", "other ids than k_document_ids",
                     "the same: " + schedule.name + " packs whole documents");
  }
  if (shape.Sq != shape.Skv) {
    const std::string got = "Sq " + std::to_string(shape.Sq) + ", Skv " + std::to_string(shape.Skv);
    if (mask.rule != MaskRule::kFull) {
      throw InputError("k", got,
                       "as many keys as queries under rule " + std::string(Name(mask.rule)) +
                           " for " + schedule.name);
    }
    if (mask.causal && mask.corner == Corner::kTopLeft) {
      throw InputError("mask.corner", "top-left with " + got,
                       "bottom-right, where " + schedule.name + " hangs the diagonal");
    }
  }
  return *tile;
}

std::vector<int64_t> AllOf(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

// One batch under rules document and anchor, Sq = Skv.
void AddDocuments(const Mask& mask, const Sequence& like, std::vector<Sequence>& to) {
  const auto id_of = [&](int64_t token) {
    return mask.q_ids[static_cast<size_t>(like.b * mask.Sq + token)];
  };
  std::map<int64_t, std::vector<int64_t>> documents;
  for (int64_t token = 0; token < mask.Sq; ++token) documents[id_of(token)].push_back(token);
  const bool anchored = mask.spec.rule == MaskRule::kAnchor && documents.contains(0);
  for (const auto& [id, own] : documents) {
    Sequence sequence = like;
    sequence.queries = own;
    if (anchored && id != 0) {
      const std::vector<int64_t>& anchor = documents.at(0);
      sequence.queries.resize(own.size() + anchor.size());
      std::merge(own.begin(), own.end(), anchor.begin(), anchor.end(), sequence.queries.begin());
    }
    sequence.keys = sequence.queries;
    for (const int64_t token : sequence.queries) sequence.answers.push_back(id_of(token) == id);
    to.push_back(std::move(sequence));
  }
}

}  // namespace

int64_t Sequence::Visible(int64_t n) const {
  const int64_t Sq = static_cast<int64_t>(queries.size()), Skv = static_cast<int64_t>(keys.size());
  return causal ? std::clamp<int64_t>(n + 1 + Skv - Sq, 0, Skv) : Skv;
}

int64_t Sequence::Tiles(int64_t n) const {
  const int64_t Sq = static_cast<int64_t>(queries.size()), Skv = static_cast<int64_t>(keys.size());
  const int64_t all = CeilDiv(Skv, tile.keys);
  if (!causal) return all;
  return std::min(all, CeilDiv((n / tile.queries + 1) * tile.queries + Skv - Sq, tile.keys));
}

int64_t Sequence::MaskedTiles() const {
  if (!causal) return 0;
  const int64_t Sq = static_cast<int64_t>(queries.size()), Skv = static_cast<int64_t>(keys.size());
  const bool whole = !packed && Sq % tile.queries == 0 && Skv % tile.keys == 0;
  return CeilDiv(tile.queries, tile.keys) + (whole ? 0 : 1);
}

bool IsCausalCall(const AttentionProblem& problem) {
  const MaskSpec& mask = problem.mask.spec;
  // A packed batch of single tokens would be full too; each sees one key either way.
  return mask.causal && (problem.shape.Sq > 1 || mask.rule != MaskRule::kFull);
}

std::vector<Sequence> SequencesOf(const AttentionProblem& problem, const Schedule& schedule) {
  const AttentionShape& shape = problem.shape;
  const MaskRule rule = problem.mask.spec.rule;
  Sequence like;
  like.causal = IsCausalCall(problem);
  like.tile = CheckedTile(problem, schedule, like.causal);
  like.packed = rule != MaskRule::kFull;
  std::vector<Sequence> sequences;
  for (like.b = 0; like.b < shape.B; ++like.b) {
    if (rule != MaskRule::kFull) {
      AddDocuments(problem.mask, like, sequences);
      continue;
    }
    Sequence sequence = like;
    sequence.queries = AllOf(shape.Sq);
    sequence.keys = AllOf(shape.Skv);
    sequence.answers.assign(sequence.queries.size(), true);
    sequences.push_back(std::move(sequence));
  }
  return sequences;
}

}  // namespace bitanchor::replay
