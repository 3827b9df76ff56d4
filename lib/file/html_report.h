// A verdict as one page that a person reads.
#ifndef BITANCHOR_LIB_FILE_HTML_REPORT_H_
#define BITANCHOR_LIB_FILE_HTML_REPORT_H_

#include <string>

#include "lib/file/report.h"

namespace bitanchor {

// HTML in UTF-8 with nothing outside it: no network, no script, style and pictures inline, which a
// content security policy in the page enforces. For light and dark screens, phones and paper; at
// most 400,000 bytes.
std::string HtmlReport(const Judgement& judgement);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_HTML_REPORT_H_
