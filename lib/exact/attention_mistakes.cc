#include "lib/exact/attention_mistakes.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>

namespace bitanchor::exact {
namespace {

constexpr double kLog2E = 1.4426950408889634;

// A kernel that understood the problem otherwise: change(problem) says how.
template <typename Change>
MistakenAttention Otherwise(const RightAttention& right, std::string id, std::string where,
                            const Change& change) {
  auto understood = std::make_shared<IntervalProblem>(*right);
  change(*understood);
  return Mistaken(std::move(understood), std::move(id), std::move(where));
}

std::string Signed(int64_t by) { return (by > 0 ? "+" : "") + std::to_string(by); }

void AddAnchorTwice(const RightAttention& right, std::vector<MistakenAttention>& all) {
  const auto add = [&](const std::string& where, bool in_anchors_rows) {
    all.push_back(Mistaken(right, "anchor-twice", where));
    all.back().times = [right, in_anchors_rows](const RowPlace& of, int64_t j) {
      const Mask& mask = right->problem.mask;
      const bool counts = in_anchors_rows || mask.q_ids[of.b * mask.Sq + of.i] != 0;
      return counts && mask.k_ids[of.b * mask.Skv + j] == 0 ? 2 : 1;
    };
  };
  add("by the queries of documents", false);
  add("by every query", true);
}

void AddMaskMistakes(const RightAttention& right, std::vector<MistakenAttention>& all) {
  const Mask& mask = right->problem.mask;
  const MaskSpec& spec = mask.spec;
  const auto with = [&](const char* id, const std::string& where, const auto& change) {
    all.push_back(Otherwise(right, id, where, [&](IntervalProblem& understood) {
      change(understood.problem.mask.spec);
    }));
  };
  if (spec.causal) {
    with("causal-ignored", "", [](MaskSpec& wrong) { wrong.causal = false; });
    for (const int64_t by : {-1, 1}) {
      with("causal-shifted",
           by < 0 ? "query i sees keys up to i - 1" : "query i sees keys up to i + 1",
           [](MaskSpec& wrong) { wrong.causal = false; });
      all.back().diagonal = by;
    }
  } else {
    with("causal-applied", "", [](MaskSpec& wrong) { wrong.causal = true; });
  }
  if (mask.Sq != mask.Skv && (spec.causal || spec.window_keys)) {
    with("corner-swapped", "", [](MaskSpec& wrong) {
      wrong.corner = wrong.corner == Corner::kTopLeft ? Corner::kBottomRight : Corner::kTopLeft;
    });
  }
  if (spec.window_keys) {
    all.push_back(WithWindow(right, std::nullopt));
    for (const int64_t by : {-1, 1}) {
      if (*spec.window_keys + by >= 1) all.push_back(WithWindow(right, *spec.window_keys + by));
    }
  } else if (mask.Skv > 1) {
    all.push_back(WithWindow(right, (mask.Skv + 1) / 2));
  }
  if (spec.rule != MaskRule::kFull) {
    with("documents-ignored", "", [](MaskSpec& wrong) { wrong.rule = MaskRule::kFull; });
    for (const int64_t by : {-1, 1}) {
      if (auto moved = WithStartsMoved(right, by)) all.push_back(*moved);
    }
  }
  if (spec.rule == MaskRule::kAnchor) {
    with("anchor-dropped", "", [](MaskSpec& wrong) { wrong.rule = MaskRule::kDocument; });
    AddAnchorTwice(right, all);
  }
}

void AddScaleMistakes(const RightAttention& right, std::vector<MistakenAttention>& all) {
  const double scale = right->problem.softmax_scale,
               D = static_cast<double>(right->problem.shape.D);
  const struct {
    const char *id, *where;
    double wrong;
  } scales[] = {
      {"scale-missing", "", 1},
      {"scale-wrong", "1/D", 1 / D},
      {"scale-wrong", "1/sqrt(D)", 1 / std::sqrt(D)},
      {"scale-wrong", "1/sqrt(2 D)", 1 / std::sqrt(2 * D)},
      {"scale-wrong", "sqrt(D)", std::sqrt(D)},
      {"scale-wrong", "the scale, applied twice", scale * scale},
      {"scale-wrong", "the scale without log2(e) for exp2", scale / kLog2E},
      {"scale-wrong", "the scale with log2(e) once too often", scale * kLog2E},
      {"scale-rounded", "to BF16", RoundTo(DType::kBF16, scale)},
      {"scale-rounded", "times log2(e), to BF16", RoundTo(DType::kBF16, scale * kLog2E) / kLog2E}};
  for (const auto& [id, where, wrong] : scales) {
    const float stored = static_cast<float>(wrong);
    if (std::fabs(stored - scale) <= 1e-6 * scale) continue;
    all.push_back(Otherwise(right, id, where, [&](IntervalProblem& understood) {
      understood.problem.softmax_scale = stored;
    }));
  }
}

void AddHeadMistakes(const RightAttention& right, std::vector<MistakenAttention>& all) {
  const AttentionShape& shape = right->problem.shape;
  const int64_t Sq = shape.Sq, Hq = shape.Hq, Hkv = shape.Hkv;  // clang 14 captures no bindings
  const int64_t group = Hq / Hkv;
  if (Hkv > 1) {
    std::vector<int64_t> heads(Hq);
    const auto map = [&](const std::string& where, const auto& key_head) {
      for (int64_t h = 0; h < Hq; ++h) heads[h] = key_head(h);
      all.push_back(Mistaken(right, "heads-mapped", where));
      all.back().key_heads = heads;
    };
    if (group > 1) {
      map("query head h reads key head h mod Hkv", [&](int64_t h) { return h % Hkv; });
      map("every query head reads key head 0", [&](int64_t) { return 0; });
    }
    map("query heads read the next key head", [&](int64_t h) { return (h / group + 1) % Hkv; });
  }
  if (Hq == 1) return;
  std::vector<int64_t> answers(Hq);
  const auto permute = [&](const std::string& where, const auto& head) {
    for (int64_t h = 0; h < Hq; ++h) answers[h] = head(h);
    all.push_back(Mistaken(right, "heads-permuted", where));
    all.back().answer_heads = answers;
  };
  permute("heads in reverse order", [&](int64_t h) { return Hq - 1 - h; });
  if (Hq > 2) {
    permute("each head holds the next one's answer", [&](int64_t h) { return (h + 1) % Hq; });
    permute("each head holds the one before's answer",
            [&](int64_t h) { return (h + Hq - 1) % Hq; });
  }
  if (group > 1 && Hkv > 1) {
    permute("(Hkv, Hq/Hkv) written as (Hq/Hkv, Hkv)",
            [&](int64_t h) { return h % Hkv * group + h / Hkv; });
    permute("(Hq/Hkv, Hkv) written as (Hkv, Hq/Hkv)",
            [&](int64_t h) { return h % group * Hkv + h / group; });
  }
  if (Sq == 1) return;
  all.push_back(Mistaken(right, "layout-transposed", "written as bhsd, read as bshd"));
  all.back().misread = Misread::kHeadsFirst;
  all.push_back(Mistaken(right, "layout-transposed", "written as bshd, read as bhsd"));
  all.back().misread = Misread::kTokensFirst;
}

void AddTensorMistakes(const RightAttention& right, std::vector<MistakenAttention>& all) {
  const AttentionShape& shape = right->problem.shape;
  all.push_back(Otherwise(right, "keys-values-swapped", "", [](IntervalProblem& understood) {
    std::swap(understood.problem.k, understood.problem.v);
    understood.k_deviation = {};
  }));
  if (shape.Sq == shape.Skv && shape.Hq == shape.Hkv) {
    all.push_back(Otherwise(right, "queries-keys-swapped", "", [](IntervalProblem& understood) {
      std::swap(understood.problem.q, understood.problem.k);
      std::swap(understood.q_deviation, understood.k_deviation);
    }));
  }
  if (shape.Skv == 1) return;
  for (const int64_t by : {1, -1}) {
    all.push_back(Mistaken(
        right, "values-shifted",
        by > 0 ? "key j takes the value of token j - 1" : "key j takes the value of token j + 1"));
    all.back().moved = {0, shape.Skv};
    all.back().values_back = by;
  }
}

void AddRoundingMistakes(const RightAttention& right, bool weights_stay_exact,
                         std::vector<MistakenAttention>& all) {
  const DType o_dtype = right->o_dtype;
  const bool wide = right->problem.dtype == DType::kF32;
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    const std::string name(DTypeName(dtype));
    if (!wide && dtype != right->problem.dtype) continue;
    if (weights_stay_exact) {
      all.push_back(Mistaken(right, "weights-rounded", "to " + name));
      all.back().weights = RoundingTo{dtype};
    }
    all.push_back(Mistaken(right, "weights-truncated", "to " + name));
    all.back().weights = RoundingTo{dtype, Rounding::kTowardZero};
  }
  all.push_back(Mistaken(right, "output-truncated", "to " + std::string(DTypeName(o_dtype))));
  all.back().output = RoundingTo{o_dtype, Rounding::kTowardZero};
}

// Whether a run of one id starts at `at`, behind one that is no anchor's.
bool StartsDocument(const std::vector<int64_t>& ids, int64_t first, int64_t at) {
  return at > first && ids[at] != ids[at - 1] && ids[at - 1] != 0 && ids[at] != 0;
}

// ids [B, S]; the runs for which `moves(b, s)` holds start `by` tokens later.
template <typename Moves>
bool MoveStarts(int64_t B, int64_t S, int64_t by, const Moves& moves, std::vector<int64_t>& ids) {
  const std::vector<int64_t> was = ids;
  bool moved = false;
  for (int64_t b = 0; b < B; ++b) {
    for (int64_t s = 1; s < S; ++s) {
      const int64_t at = b * S + s;
      if (!StartsDocument(was, b * S, at) || !moves(b, s)) continue;
      const int64_t changed = by > 0 ? at : at - 1;
      ids[changed] = by > 0 ? was[at - 1] : was[at];
      moved = true;
    }
  }
  return moved;
}

template <typename Moves>
std::optional<MistakenAttention> Moved(const RightAttention& right, int64_t by,
                                       const std::string& where, const Moves& moves) {
  bool any = false;
  MistakenAttention kernel =
      Otherwise(right, "boundary-shifted", where, [&](IntervalProblem& understood) {
        Mask& mask = understood.problem.mask;
        any = MoveStarts(mask.B, mask.Skv, by, moves, mask.k_ids);
        MoveStarts(
            mask.B, mask.Sq, by, [&](int64_t b, int64_t i) { return moves(b, i + mask.Offset()); },
            mask.q_ids);
      });
  if (!any) return std::nullopt;
  return kernel;
}

}  // namespace

MistakenAttention WithWindow(const RightAttention& right, std::optional<int64_t> window_keys) {
  const std::optional<int64_t>& own = right->problem.mask.spec.window_keys;
  const std::string id = !own           ? "window-applied"
                         : !window_keys ? "window-ignored"
                                        : "window-shifted";
  const std::string where = !window_keys ? ""
                            : !own       ? "of " + std::to_string(*window_keys) + " keys"
                                         : Signed(*window_keys - *own) + " keys";
  return Otherwise(right, id, where, [&](IntervalProblem& understood) {
    understood.problem.mask.spec.window_keys = window_keys;
  });
}

std::vector<int64_t> DocumentStarts(const Mask& mask, int64_t b) {
  std::vector<int64_t> starts;
  if (mask.spec.rule == MaskRule::kFull) return starts;
  for (int64_t s = 1; s < mask.Skv; ++s) {
    if (StartsDocument(mask.k_ids, b * mask.Skv, b * mask.Skv + s)) starts.push_back(s);
  }
  return starts;
}

std::optional<MistakenAttention> WithStartsMoved(const RightAttention& right, int64_t by) {
  return Moved(right, by, "all by " + Signed(by), [](int64_t, int64_t) { return true; });
}

std::optional<MistakenAttention> WithStartMoved(const RightAttention& right, int64_t by, int64_t b,
                                                int64_t start) {
  return Moved(right, by, "the one at " + std::to_string(start) + " by " + Signed(by),
               [&](int64_t of, int64_t s) { return of == b && s == start; });
}

std::vector<MistakenAttention> AttentionMistakes(const RightAttention& right,
                                                 bool weights_stay_exact) {
  std::vector<MistakenAttention> all;
  AddMaskMistakes(right, all);
  AddScaleMistakes(right, all);
  AddHeadMistakes(right, all);
  AddTensorMistakes(right, all);
  for (MistakenAttention& kernel : WithTileKeyDropped(right, kBlockKeys))
    all.push_back(std::move(kernel));
  const int64_t Skv = right->problem.shape.Skv, first = Skv / 2 / kBlockKeys * kBlockKeys;
  for (const BlockMistake mistake : kBlockMistakes) {
    if (Skv > kBlockKeys)
      all.push_back(
          WithBlock(right, mistake, kBlockKeys, {first, std::min(first + kBlockKeys, Skv)}));
  }
  AddRoundingMistakes(right, weights_stay_exact, all);
  return all;
}

}  // namespace bitanchor::exact
