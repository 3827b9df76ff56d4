#include "lib/file/svg_text.h"

#include <fmt/format.h>

#include <cmath>
#include <sstream>

#include "lib/file/markup.h"

namespace bitanchor {

std::string Px(double x) { return fmt::format("{:.7g}", std::round(x * 100) / 100 + 0.0); }

double LabelWidth(std::string_view label) {
  constexpr double kCharacter = 6.4;
  double characters = 0;
  for (const char c : label) characters += (static_cast<unsigned char>(c) & 0xc0) != 0x80;  // UTF-8
  return kCharacter * characters;
}

std::string CutMarkup(std::string_view text, double width) {
  std::string legible = Legible(text);
  if (LabelWidth(legible) <= width) return MarkupEscaped(legible);
  while (!legible.empty() && LabelWidth(legible) + LabelWidth("…") > width) {
    while (!legible.empty() && (static_cast<unsigned char>(legible.back()) & 0xc0) == 0x80) {
      legible.pop_back();
    }
    if (!legible.empty()) legible.pop_back();
  }
  return MarkupEscaped(legible) + "…";
}

std::vector<std::string> Folded(std::string_view line, double width) {
  std::vector<std::string> folded(1);
  std::istringstream words(Legible(line));
  for (std::string word; words >> word;) {
    std::string& last = folded.back();
    const std::string longer = last.empty() ? word : last + " " + word;
    if (last.empty() || LabelWidth(longer) <= width) {
      last = longer;
    } else {
      folded.push_back(word);
    }
  }
  return folded;
}

std::string SvgBegin(double width, double height, std::string_view title,
                     std::string_view description) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" viewBox=\"0 0 {0} "
      "{1}\" role=\"img\" font-family=\"{2}\" font-size=\"12\" fill=\"{3}\">\n<title>{4}</title>\n"
      "<desc>{5}</desc>\n<rect width=\"{0}\" height=\"{1}\" fill=\"#ffffff\"/>\n",
      Px(width), Px(height), kSvgFont, kSvgInk, MarkupEscaped(title), MarkupEscaped(description));
}

std::string SvgText(double x, double y, std::string_view markup, std::string_view attributes) {
  return fmt::format("<text x=\"{}\" y=\"{}\"{}{}>{}</text>\n", Px(x), Px(y),
                     attributes.empty() ? "" : " ", attributes, markup);
}

}  // namespace bitanchor
