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

}  // namespace bitanchor
