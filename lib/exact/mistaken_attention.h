// What a kernel with a known mistake would answer. Every mistake of the forward pass after RoPE is
// the same computation on other data: which query stands for which, which keys it sees and how
// often, whose values they carry, which head they are of, the scale. So one row of a mistaken
// kernel is a problem of its own, of one query and the keys that the kernel takes, and both its
// exact centre and a contract's interval around it come from the functions that right kernels are
// judged by.
#ifndef BITANCHOR_LIB_EXACT_MISTAKEN_ATTENTION_H_
#define BITANCHOR_LIB_EXACT_MISTAKEN_ATTENTION_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/number/format.h"
#include "lib/recipe/interval.h"

namespace bitanchor::exact {

// How o, written in one order of heads H and tokens S, is read in another.
enum class Misread {
  kNot,
  kHeadsFirst,   // written [H, S, D], read as [S, H, D]
  kTokensFirst,  // the reverse
  kExchanged,    // written [H, S, D], read as if S were H and H were S
};

// The row of a problem: which a mistaken kernel answers in the place of another.
struct RowPlace {
  int64_t b, h, i;
  bool operator==(const RowPlace& other) const = default;
};

struct KeyRange {  // [first, end)
  int64_t first = 0, end = 0;
  bool Holds(int64_t j) const { return first <= j && j < end; }
};

// One rounding to a format.
struct RoundingTo {
  DType dtype;
  Rounding mode = Rounding::kNearestEven;
};

using RightAttention = std::shared_ptr<const IntervalProblem>;

// As it stands with nothing but `attention` set, no mistake: attention as the problem says.
struct MistakenAttention {
  std::string id;     // of lib/recipe/mistake.h
  std::string where;  // what the id leaves open: "keys 192..255"; "" where it leaves nothing

  // The problem as the kernel understood it: its mask, scale and tensors, q and k rotated.
  RightAttention attention;

  std::optional<int64_t> diagonal = std::nullopt;  // keys up to i' + this, where the mask's own
                                                   // spec is not causal
  std::vector<int64_t> key_heads = {};     // [Hq], the key head of each; empty: h / (Hq / Hkv)
  std::vector<int64_t> answer_heads = {};  // [Hq], whose answer stands at each; empty: its own
  Misread misread = Misread::kNot;
  // How often a key j that a row sees counts in it; empty: once.
  std::function<int64_t(const RowPlace& of, int64_t j)> times = {};
  // Keys and values of these are those so many tokens before, around the end.
  KeyRange moved = {};
  int64_t keys_back = 0, values_back = 0;
  TensorView moved_k = {};  // [B, Skv, Hkv, D], whose keys the moved ones are instead
  std::optional<RoundingTo> weights = std::nullopt;  // before P.V; the row sum keeps them exact
  std::optional<RoundingTo> output = std::nullopt;   // instead of one to nearest
};

// A kernel that understood the problem as it is, or as `attention` has it.
MistakenAttention Mistaken(RightAttention attention, std::string id, std::string where = "");

// One query and its keys, gathered. Valid until the next Gather into it.
struct GatheredRow {
  int64_t D = 0, n = 0;                         // n keys
  std::vector<int64_t> keys;                    // [n], where each is visible, ascending
  std::vector<float> q, k, v;                   // [D], [n, D], [n, D]
  std::vector<float> q_deviation, k_deviation;  // likewise, or empty
  double scale = 0;
  DType o_dtype = DType::kF32;
};

void Gather(const MistakenAttention& kernel, const RowPlace& of, GatheredRow& row);

// Whose answers stand at `place` of o and of LSE. Only o may be misread.
struct AnsweredRows {
  RowPlace o, lse;
};
AnsweredRows AnsweredAt(const MistakenAttention& kernel, const RowPlace& place);

// Both in f64.
struct RowAnswer {
  std::vector<double> o;  // [D]
  double lse;             // natural, of scaled scores
};

// No visible key: o = 0, lse = -inf. weights: how they are rounded before they meet V.
RowAnswer Centre(const GatheredRow& row, const std::optional<RoundingTo>& weights);

// What the kernel stores at `place`: o rounded once to its dtype, LSE to f32.
struct StoredRow {
  std::vector<float> o;
  float lse;
};
StoredRow Stored(const MistakenAttention& kernel, const RowPlace& place, GatheredRow& scratch);

// The contract's intervals, without what measures bias, around the centre, weights' and output's
// roundings aside: o [D], lse.
void MistakenIntervals(const GatheredRow& row, const Contract& contract, IntervalBlock& out);

}  // namespace bitanchor::exact

#endif  // BITANCHOR_LIB_EXACT_MISTAKEN_ATTENTION_H_
