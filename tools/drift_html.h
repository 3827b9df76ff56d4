// What `bitanchor drift` found, as one page: tables, charts and the command that repeats it.
#ifndef BITANCHOR_TOOLS_DRIFT_HTML_H_
#define BITANCHOR_TOOLS_DRIFT_HTML_H_

#include <string>

#include "tools/drift_report.h"

namespace bitanchor::tools {

// The same bytes for the same report: no date.
std::string DriftHtml(const DriftReport& report);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_HTML_H_
