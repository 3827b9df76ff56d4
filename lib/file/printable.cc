#include "lib/file/printable.h"

#include <fmt/format.h>

namespace bitanchor {
namespace {

constexpr size_t kPathLimit = 160;
constexpr std::string_view kMore = "...";

std::string Escaped(char byte) {
  if (byte >= 0x20 && byte < 0x7f) return std::string(1, byte);
  return fmt::format("\\x{:02x}", static_cast<unsigned char>(byte));
}

// At most `limit` bytes.
std::string Shortened(std::string_view text, size_t limit) {
  std::string out;
  for (const char byte : text) {
    out += Escaped(byte);
    if (out.size() <= limit) continue;
    out.resize(limit - kMore.size());
    out += kMore;
    break;
  }
  return out;
}

}  // namespace

std::string Printable(std::string_view text, size_t limit) {
  return text.empty() ? "\"\"" : Shortened(text, limit);
}

std::string Quoted(std::string_view text, size_t limit) {
  return '"' + Shortened(text, limit) + '"';
}

std::string PrintablePath(std::string_view path) {
  std::string out;
  for (const char byte : path) out += Escaped(byte);
  if (out.empty()) return "\"\"";
  if (out.size() <= kPathLimit) return out;
  return std::string(kMore) + out.substr(out.size() - kPathLimit + kMore.size());
}

std::string Percent(double part, double whole) {
  const double percent = 100 * part / whole;
  if (part < whole && percent >= 99.95) return "over 99.9%";
  return fmt::format("{:.3g}%", percent);
}

}  // namespace bitanchor
