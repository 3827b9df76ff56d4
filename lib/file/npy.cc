#include "lib/file/npy.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <charconv>
#include <cstring>
#include <optional>
#include <string_view>

#include "lib/file/integers.h"
#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr std::string_view kMagic = "\x93NUMPY";
constexpr size_t kMostHeader = size_t{1} << 16;

struct Header {
  std::string descr;
  bool fortran_order = false;
  std::vector<int64_t> shape;
};

// The header's literal: a dict of three keys, each once, in any order.
class HeaderParser {
 public:
  HeaderParser(std::string_view text, const std::string& name) : text_(text), name_(name) {}

  Header Parse() {
    Expect('{');
    while (!Accept('}')) {
      const std::string key = String("a key");
      Expect(':');
      Value(key);
      if (!Accept(',')) {
        Expect('}');
        break;
      }
    }
    Skip();
    if (at_ != text_.size()) Refuse("nothing after the dict");
    if (!has_descr_ || !has_order_ || !has_shape_) {
      Refuse("the keys descr, fortran_order and shape");
    }
    return header_;
  }

 private:
  [[noreturn]] void Refuse(const std::string& want) const {
    throw InputError(name_, fmt::format("header {}", Quoted(text_, 80)), want);
  }

  void Skip() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }

  bool Accept(char c) {
    Skip();
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }

  void Expect(char c) {
    if (!Accept(c)) Refuse(fmt::format("'{}' at character {}", c, at_));
  }

  bool AcceptWord(std::string_view word) {
    Skip();
    if (text_.substr(at_, word.size()) != word) return false;
    at_ += word.size();
    return true;
  }

  std::string String(const char* what) {
    const char quote = Accept('\'') ? '\'' : '"';
    if (quote == '"' && !Accept('"')) {
      Refuse(fmt::format("{} in quotes at character {}", what, at_));
    }
    const size_t end = text_.find(quote, at_);
    if (end == text_.npos) Refuse("a string that ends");
    const std::string string(text_.substr(at_, end - at_));
    at_ = end + 1;
    return string;
  }

  // (), (3,), (2, 3)
  std::vector<int64_t> Tuple() {
    std::vector<int64_t> sizes;
    Expect('(');
    while (!Accept(')')) {
      int64_t size = 0;
      Skip();
      const char* const begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), size);
      if (error != std::errc() || size < 0) Refuse("a shape of whole numbers");
      at_ += static_cast<size_t>(end - begin);
      sizes.push_back(size);
      if (!Accept(',')) {
        Expect(')');
        break;
      }
    }
    return sizes;
  }

  void Value(const std::string& key) {
    bool& seen = key == "descr"           ? has_descr_
                 : key == "fortran_order" ? has_order_
                 : key == "shape"         ? has_shape_
                                          : unknown_;
    if (&seen == &unknown_ || seen) Refuse("the keys descr, fortran_order and shape, each once");
    seen = true;
    if (key == "shape") {
      header_.shape = Tuple();
    } else if (key == "descr") {
      header_.descr = String("an integer type");
    } else {
      header_.fortran_order = AcceptWord("True");
      if (!header_.fortran_order && !AcceptWord("False")) Refuse("fortran_order True or False");
    }
  }

  std::string_view text_;
  const std::string& name_;
  size_t at_ = 0;
  Header header_;
  bool has_descr_ = false, has_order_ = false, has_shape_ = false, unknown_ = false;
};

IntegerType TypeOf(const std::string& descr) {
  const bool known = descr.size() == 3 &&
                     std::string_view("<>|=").find(descr[0]) != std::string_view::npos &&
                     (descr[1] == 'i' || descr[1] == 'u') &&
                     std::string_view("1248").find(descr[2]) != std::string_view::npos;
  const int width = known ? descr[2] - '0' : 0;
  // '=' is the writer's own order, which a file cannot know; '|' is for single bytes.
  if (!known || descr[0] == '=' || (descr[0] == '|') != (width == 1)) {
    throw InputError("descr", Quoted(descr), "integers, as \"<i8\" or \"<u4\"");
  }
  return {width, descr[1] == 'i', descr[0] == '>'};
}

uint32_t LittleU32(const std::byte* data, int bytes) {
  uint32_t value = 0;
  for (int i = bytes - 1; i >= 0; --i) value = value << 8 | std::to_integer<uint32_t>(data[i]);
  return value;
}

}  // namespace

std::vector<int64_t> ParseNpyIntegers(std::span<const std::byte> bytes, const std::string& name) {
  const size_t versions = kMagic.size();
  if (bytes.size() < versions + 2 || std::memcmp(bytes.data(), kMagic.data(), versions) != 0) {
    throw InputError(name, "another beginning", "numpy's magic \\x93NUMPY and a version");
  }
  const int major = std::to_integer<int>(bytes[versions]);
  const int minor = std::to_integer<int>(bytes[versions + 1]);
  if (major < 1 || major > 3 || minor != 0) {
    throw InputError(name, fmt::format("version {}.{}", major, minor), "1.0, 2.0 or 3.0");
  }
  const int length_bytes = major == 1 ? 2 : 4;
  const size_t begin = versions + 2 + static_cast<size_t>(length_bytes);
  if (bytes.size() < begin) throw InputError(name, "an end within the header", "a whole header");
  const size_t length = LittleU32(bytes.data() + versions + 2, length_bytes);
  if (length > kMostHeader || length > bytes.size() - begin) {
    throw InputError(name, fmt::format("a header of {} bytes in {}", length, bytes.size()),
                     "one that the file holds, of at most 65536");
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + begin, length);
  const Header header = HeaderParser(text, name).Parse();
  const IntegerType type = TypeOf(header.descr);
  if (header.shape.size() != 1) {
    throw InputError("shape", Printable(fmt::format("({})", fmt::join(header.shape, ", ")), 100),
                     "one axis");
  }
  const std::span<const std::byte> data = bytes.subspan(begin + length);
  const size_t width = static_cast<size_t>(type.width);
  const size_t count = static_cast<size_t>(header.shape[0]);
  if (count > data.size() / width || count * width != data.size()) {
    throw InputError("shape",
                     fmt::format("({},) of {} bytes each for {} bytes", count, width, data.size()),
                     "as many as there are");
  }
  return LoadIntegers(data, type, name);
}

}  // namespace bitanchor
