// Free text of captures and command lines, made fit for documents. It may hold any bytes.
#ifndef BITANCHOR_LIB_FILE_MARKUP_H_
#define BITANCHOR_LIB_FILE_MARKUP_H_

#include <string>
#include <string_view>

namespace bitanchor {

// One line of valid UTF-8. What a reader could not see, or what would move or reorder what he sees,
// is written out: control characters, line breaks among them, as \x1b or \u0085, directional marks
// as \u202e, non-characters as \ufffe, bytes that are not UTF-8 as \xff.
std::string Legible(std::string_view text);

// Legible text for the content or a double-quoted attribute of HTML and XML 1.0.
std::string MarkupEscaped(std::string_view text);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_MARKUP_H_
