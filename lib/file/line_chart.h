// Charts for a quick look: a few series of points with their axes and names, as one SVG. Colours
// are Okabe and Ito's; markers and dashes repeat what they say, for print and for the colour-blind.
#ifndef BITANCHOR_LIB_FILE_LINE_CHART_H_
#define BITANCHOR_LIB_FILE_LINE_CHART_H_

#include <string>
#include <vector>

#include "lib/file/chart_axis.h"

namespace bitanchor {

enum class ChartDash { kSolid, kDashed, kDashDot };

struct ChartSeries {
  std::string name;   // any bytes: what it is, in full
  std::string label;  // what is written beside it
  int style = 0;      // >= 0: its colour and marker. 56 of them differ in one or both
  ChartDash dash = ChartDash::kSolid;  // markers are hollow, or pale, where it is another
  bool line = true;                    // joins its points, in their order
  bool markers = true;                 // false: at the first point alone, and larger
  std::vector<double> x, y = {};       // of the same length
};

struct LineChart {
  std::string title;  // any bytes
  ChartAxis x, y;
  std::vector<ChartSeries> series;
  bool legend = false;  // labels in a list; else each at the last point of its series
};

struct ChartPage {
  std::string title;               // any bytes
  std::vector<std::string> lines;  // below it; long ones are folded
  std::vector<LineChart> charts;   // one below another
};

// One <svg> element, self-contained, for a file of its own or inside an HTML page, as lib/file/
// mask_figure.h's. A point that cannot be shown (chart_axis.h) leaves a gap in its line, and the
// label says how many there are. What is 0 on a logarithmic axis lies before it, at a tick "0", and
// no line goes down to there.
// The same arguments give the same bytes.
std::string ChartsSvg(const ChartPage& page);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_LINE_CHART_H_
