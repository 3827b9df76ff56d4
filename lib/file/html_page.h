// What every HTML page has: one file with its style sheet, without scripts or anything fetched.
#ifndef BITANCHOR_LIB_FILE_HTML_PAGE_H_
#define BITANCHOR_LIB_FILE_HTML_PAGE_H_

#include <string>
#include <string_view>
#include <vector>

namespace bitanchor {

// Up to <body>. title: any bytes. of_class: "pass", "fail", "inconclusive" (html_style.h), or
// "plain", whose accent is the ink's colour.
std::string HtmlBegin(std::string_view title, std::string_view of_class);

// </body></html>, after a footer, which is markup.
std::string HtmlEnd(std::string_view footer);

// heading, body: markup. "" for an empty body.
std::string HtmlSection(std::string_view heading, std::string_view body);

// Texts of any bytes; "" for none.
std::string HtmlList(const std::vector<std::string>& texts);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_HTML_PAGE_H_
