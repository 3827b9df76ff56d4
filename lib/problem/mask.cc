#include "lib/problem/mask.h"

namespace bitanchor {

std::string_view Name(MaskRule rule) {
  switch (rule) {
    case MaskRule::kFull:
      return "full";
    case MaskRule::kDocument:
      return "document";
    case MaskRule::kAnchor:
      return "anchor";
  }
  return "";
}

std::string_view Name(Corner corner) {
  return corner == Corner::kTopLeft ? "top-left" : "bottom-right";
}

std::optional<MaskRule> MaskRuleFromName(std::string_view name) {
  for (const MaskRule rule : {MaskRule::kFull, MaskRule::kDocument, MaskRule::kAnchor}) {
    if (Name(rule) == name) return rule;
  }
  return std::nullopt;
}

std::optional<Corner> CornerFromName(std::string_view name) {
  for (const Corner corner : {Corner::kTopLeft, Corner::kBottomRight}) {
    if (Name(corner) == name) return corner;
  }
  return std::nullopt;
}

std::string InWords(const Mask& mask) {
  const MaskSpec& spec = mask.spec;
  std::string words(Name(spec.rule));
  words += spec.causal ? ", causal" : ", not causal";
  if (spec.window_keys) {
    words += ", window of " + std::to_string(*spec.window_keys) +
             (*spec.window_keys == 1 ? " key" : " keys");
  }
  const bool hangs = spec.causal || spec.window_keys;
  if (mask.Sq != mask.Skv && hangs) words += ", corner " + std::string(Name(spec.corner));
  return words;
}

}  // namespace bitanchor
