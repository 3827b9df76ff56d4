// The pictures of the HTML page: SVG and tables, coloured by classes of lib/file/html_style.h and
// without user text. SVGs stretch with the page, so their words are HTML beside them.
#ifndef BITANCHOR_LIB_FILE_HTML_CHARTS_H_
#define BITANCHOR_LIB_FILE_HTML_CHARTS_H_

#include <cstdint>
#include <string>

#include "lib/verdict/census.h"
#include "lib/verdict/place.h"

namespace bitanchor {

// One bar: exact, within, undetermined, wrong. What is wrong is at least a visible sliver.
std::string CensusBar(const Census& census);

// One row per bin of Census::by_ulp up to the last that is not empty.
std::string UlpHistogram(const Census& census);

// What the axes of a heat map are: rows of an output are heads of queries, or of keys.
struct RowAxes {
  const char* token;  // "query" or "key"
  const char* head;   // "query head" or "key head"
  int64_t tokens, heads;
};

// Heads down, blocks of tokens across, the worst of the batch: shades of the worst share of the
// bound where nothing is wrong (in replay there is none: one shade), the accent where something is,
// by how much of the block. At most 64 by 64 cells, whose size its caption says.
std::string HeatMap(const Census& census, const RowAxes& axes, bool replay);

// A swatch in the colour of a class, and what it means.
std::string KeyItem(const char* of_class, const char* says);

// One column per group, as high as the share of its elements that is wrong. "" where nothing is.
std::string GroupColumns(const Breakdown& breakdown);

// Where an element lies beside its interval: the interval from -1 to 1 around what was wanted, the
// answer at `share` of it, signed; beyond 2 at the edge.
std::string IntervalStrip(double share);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_HTML_CHARTS_H_
