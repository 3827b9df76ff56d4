// Which keys a query sees: numerics section 4 as a predicate, and nothing else.
#ifndef BITANCHOR_LIB_PROBLEM_MASK_H_
#define BITANCHOR_LIB_PROBLEM_MASK_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitanchor {

// full: every key. document: keys of the query's own document. anchor: those, and keys whose
// document id is 0 (the anchor tokens).
enum class MaskRule { kFull, kDocument, kAnchor };

// Where the causal diagonal and the window are hung when Sq != Skv: query i stands at key
// i + off, off = 0 (top-left) or Skv - Sq (bottom-right).
enum class Corner { kTopLeft, kBottomRight };

struct MaskSpec {
  MaskRule rule = MaskRule::kFull;
  bool causal = true;
  std::optional<int64_t> window_keys = std::nullopt;  // >= 1, counts the query itself
  Corner corner = Corner::kTopLeft;
};

std::string_view Name(MaskRule rule);  // "full", "document", "anchor"
std::string_view Name(Corner corner);  // "top-left", "bottom-right"
std::optional<MaskRule> MaskRuleFromName(std::string_view name);
std::optional<Corner> CornerFromName(std::string_view name);

// A mask rule with the ids it speaks about. Ids may be empty for rule full.
struct Mask {
  MaskSpec spec;
  int64_t B = 0, Sq = 0, Skv = 0;
  std::vector<int64_t> q_ids;  // [B, Sq] document of each query
  std::vector<int64_t> k_ids;  // [B, Skv] document of each key

  int64_t Offset() const { return spec.corner == Corner::kTopLeft ? 0 : Skv - Sq; }

  // The definition. b < B, i < Sq, j < Skv.
  bool Visible(int64_t b, int64_t i, int64_t j) const {
    const int64_t at = i + Offset();
    if (spec.causal && j > at) return false;
    if (spec.window_keys && at - j >= *spec.window_keys) return false;
    if (spec.rule == MaskRule::kFull) return true;
    const int64_t key_id = k_ids[b * Skv + j];
    if (key_id == q_ids[b * Sq + i]) return true;
    return spec.rule == MaskRule::kAnchor && key_id == 0;
  }
};

// "anchor, causal, window of 64 keys, corner bottom-right"; the corner where it matters.
std::string InWords(const Mask& mask);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_PROBLEM_MASK_H_
