// What `bitanchor drift` found, as charts: a panel for each axis that it has more than one value
// of, as tools/python/drift_plot.py chooses them.
#ifndef BITANCHOR_TOOLS_DRIFT_SVG_H_
#define BITANCHOR_TOOLS_DRIFT_SVG_H_

#include <string>

#include "lib/file/line_chart.h"
#include "tools/drift_report.h"

namespace bitanchor::tools {

// D by shift, by length, by key (where all_keys), by stage and the positions at which stages cost
// an ulp; of one shift and length, the recipes beside each other.
ChartPage DriftCharts(const DriftReport& report);

std::string DriftSvg(const DriftReport& report);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_SVG_H_
