// What the user wrote, made fit for one line of an error message.
#ifndef BITANCHOR_LIB_FILE_PRINTABLE_H_
#define BITANCHOR_LIB_FILE_PRINTABLE_H_

#include <cstddef>
#include <string>
#include <string_view>

namespace bitanchor {

// Bytes outside printable ASCII become \xNN, so that a hostile name can neither break the line nor
// drive the terminal. At most `limit` bytes: what is longer ends in "...".
// Nothing at all is shown as "".
std::string Printable(std::string_view text, size_t limit = 60);

std::string Quoted(std::string_view text, size_t limit = 60);  // the same between double quotes

// The same for a path, where the end tells more than the beginning: "...uns/7/capture.safetensors".
std::string PrintablePath(std::string_view path);

// "18.9%", three digits; but never "0%" or "100%" of a share that is neither. whole >= 1.
std::string Percent(double part, double whole);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_PRINTABLE_H_
