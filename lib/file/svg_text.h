// What the SVG figures have in common: ink, numbers, and about how wide a text is.
#ifndef BITANCHOR_LIB_FILE_SVG_TEXT_H_
#define BITANCHOR_LIB_FILE_SVG_TEXT_H_

#include <string>
#include <string_view>
#include <vector>

namespace bitanchor {

inline constexpr std::string_view kSvgInk = "#222222", kSvgQuiet = "#666666";
inline constexpr std::string_view kSvgFont = "Helvetica, Arial, sans-serif";

// A length in pixels with two decimals at most: "12", "12.5", "12.34".
std::string Px(double x);

// Of a label of 12 pixels, about: a figure knows no fonts.
double LabelWidth(std::string_view label);

// Any bytes as markup of one line at most so wide; what is longer ends in "…".
std::string CutMarkup(std::string_view text, double width);

// Any bytes as legible lines, broken at spaces where they would be wider; no markup yet.
std::vector<std::string> Folded(std::string_view line, double width);

// <svg ...>, a title and a description for those who cannot see it, and a white ground, for pages
// that are dark. title, description: any bytes. Nothing has an id: two may stand in one page.
std::string SvgBegin(double width, double height, std::string_view title,
                     std::string_view description);

// attributes, markup: as they stand in the file.
std::string SvgText(double x, double y, std::string_view markup, std::string_view attributes = "");

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_SVG_TEXT_H_
