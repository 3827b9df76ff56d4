#include "lib/file/html_page.h"

#include <fmt/format.h>

#include "lib/file/html_style.h"
#include "lib/file/markup.h"

namespace bitanchor {

std::string HtmlBegin(std::string_view title, std::string_view of_class) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<meta http-equiv=\"Content-Security-Policy\" "
      "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
      "<title>{}</title>\n<style>{}</style>\n</head>\n<body class=\"{}\">\n",
      MarkupEscaped(title), kHtmlStyle, of_class);
}

std::string HtmlEnd(std::string_view footer) {
  return fmt::format("<footer>{}</footer>\n</body>\n</html>\n", footer);
}

std::string HtmlSection(std::string_view heading, std::string_view body) {
  if (body.empty()) return "";
  return fmt::format("<section>\n<h2>{}</h2>\n{}</section>\n", heading, body);
}

std::string HtmlList(const std::vector<std::string>& texts) {
  if (texts.empty()) return "";
  std::string list = "<ul>\n";
  for (const std::string& text : texts) list += "<li>" + MarkupEscaped(text) + "</li>\n";
  return list + "</ul>\n";
}

}  // namespace bitanchor
