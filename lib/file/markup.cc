#include "lib/file/markup.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace bitanchor {
namespace {

struct CodePoint {
  uint32_t value;
  size_t bytes;  // 0: not UTF-8
};

// The first code point of a text that is not empty: shortest form, no surrogates, as RFC 3629 says.
CodePoint Decode(std::string_view text) {
  const auto at = [&](size_t n) { return static_cast<unsigned char>(text[n]); };
  if (at(0) < 0x80) return {at(0), 1};
  const size_t bytes = at(0) >= 0xf0 ? 4 : at(0) >= 0xe0 ? 3 : 2;
  if (at(0) < 0xc2 || at(0) > 0xf4 || text.size() < bytes) return {0, 0};
  uint32_t value = at(0) & (0xff >> (bytes + 1));
  for (size_t n = 1; n < bytes; ++n) {
    if ((at(n) & 0xc0) != 0x80) return {0, 0};
    value = value << 6 | (at(n) & 0x3f);
  }
  constexpr uint32_t kLeast[] = {0, 0, 0x80, 0x800, 0x10000};
  const bool surrogate = value >= 0xd800 && value <= 0xdfff;
  if (value < kLeast[bytes] || value > 0x10ffff || surrogate) return {0, 0};
  return {value, bytes};
}

bool Invisible(uint32_t c) {
  if (c < 0x20 || (c >= 0x7f && c < 0xa0)) return true;                         // C0, DEL, C1
  if ((c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef)) return true;      // non-characters
  if (c == 0x061c || (c >= 0x200b && c <= 0x200f) || c == 0xfeff) return true;  // marks of no width
  return (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f);  // line ends, directions
}

}  // namespace

std::string Legible(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const CodePoint c = Decode(text);
    const size_t bytes = std::max<size_t>(c.bytes, 1);
    if (c.bytes == 0 || (Invisible(c.value) && c.value < 0x80)) {
      out += fmt::format("\\x{:02x}", static_cast<unsigned char>(text[0]));
    } else if (Invisible(c.value)) {
      out += fmt::format("\\u{:04x}", c.value);
    } else {
      out += text.substr(0, bytes);
    }
    text.remove_prefix(bytes);
  }
  return out;
}

std::string MarkupEscaped(std::string_view text) {
  std::string out;
  for (const char c : Legible(text)) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace bitanchor
