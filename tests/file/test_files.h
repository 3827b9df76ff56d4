// Files for the tests, laid out by hand: nothing here uses the library's writer, so that reader and
// writer are not tested against each other alone.
#ifndef BITANCHOR_TESTS_FILE_TEST_FILES_H_
#define BITANCHOR_TESTS_FILE_TEST_FILES_H_

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/file/safetensors.h"
#include "lib/tensor/error.h"

namespace bitanchor::test {

inline std::span<const std::byte> AsBytes(const std::string& text) {
  return std::as_bytes(std::span(text));
}

inline std::string LittleU64(uint64_t value) {
  std::string out;
  for (int i = 0; i < 8; ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
  return out;
}

// length, header as it is given, data.
inline std::string RawFile(const std::string& header, const std::string& data = "") {
  return LittleU64(header.size()) + header + data;
}

template <typename T>
std::string Pack(const std::vector<T>& values) {
  std::string out(values.size() * sizeof(T), '\0');
  if (!values.empty()) std::memcpy(out.data(), values.data(), out.size());
  return out;
}

struct TestTensor {
  std::string dtype;
  std::vector<int64_t> shape;
  std::string bytes;
};

inline int64_t Product(const std::vector<int64_t>& shape) {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

// BF16 elements that count upwards: bits first, first + 1, ... All are finite.
inline TestTensor CountBF16(const std::vector<int64_t>& shape, uint16_t first) {
  std::vector<uint16_t> bits(static_cast<size_t>(Product(shape)));
  for (size_t n = 0; n < bits.size(); ++n) bits[n] = static_cast<uint16_t>(first + n);
  return {"BF16", shape, Pack(bits)};
}

inline TestTensor CountF32(const std::vector<int64_t>& shape, float first) {
  std::vector<float> values(static_cast<size_t>(Product(shape)));
  for (size_t n = 0; n < values.size(); ++n) values[n] = first + static_cast<float>(n);
  return {"F32", shape, Pack(values)};
}

inline TestTensor I32(const std::vector<int64_t>& shape, const std::vector<int32_t>& values) {
  return {"I32", shape, Pack(values)};
}

inline TestTensor I64(const std::vector<int64_t>& shape, const std::vector<int64_t>& values) {
  return {"I64", shape, Pack(values)};
}

// A file in the making: change a field, build, read.
struct TestFile {
  std::map<std::string, TestTensor> tensors;
  std::optional<std::string> metadata;  // the text under "bitanchor"

  std::string Build() const {
    std::string header = "{", data;
    if (metadata) {
      header += "\"__metadata__\":{\"bitanchor\":" + nlohmann::json(*metadata).dump() + "}";
    }
    for (const auto& [name, tensor] : tensors) {
      if (header.size() > 1) header += ',';
      header +=
          fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":[{},{}]}})", name,
                      tensor.dtype, tensor.shape, data.size(), data.size() + tensor.bytes.size());
      data += tensor.bytes;
    }
    return RawFile(header + "}", data);
  }
};

// q [B, Sq, Hq, D] and k, v [B, Skv, Hkv, D] in BF16, layout bshd, no metadata.
inline TestFile SmallProblem(int64_t B = 1, int64_t Sq = 4, int64_t Skv = 4, int64_t Hq = 2,
                             int64_t Hkv = 1, int64_t D = 8) {
  TestFile file;
  file.tensors["q"] = CountBF16({B, Sq, Hq, D}, 0x3f00);
  file.tensors["k"] = CountBF16({B, Skv, Hkv, D}, 0x3e00);
  file.tensors["v"] = CountBF16({B, Skv, Hkv, D}, 0x3d00);
  return file;
}

// `bytes` must outlive the capture.
inline Capture ReadBytes(const std::string& bytes) {
  return ReadCapture(SafetensorsFile::Parse(AsBytes(bytes), "memory"));
}

// What an InputError said, having checked that it is fit for one line; "" where none came.
template <typename Call>
std::string Refusal(const Call& call) {
  try {
    call();
  } catch (const InputError& error) {
    const std::string what = error.what();
    EXPECT_LE(what.size(), 500u) << what;
    for (const char c : what) EXPECT_TRUE(c >= 0x20 && c < 0x7f) << what;
    EXPECT_EQ(what.find(error.field() + ": got "), 0u) << what;
    EXPECT_FALSE(error.field().empty());
    return what;
  }
  return "";
}

inline std::string RefusalOf(const std::string& bytes) {
  return Refusal([&] { ReadBytes(bytes); });
}

inline std::string RefusalOf(const TestFile& file) { return RefusalOf(file.Build()); }

// A folder of its own, gone with the object.
class TempDir {
 public:
  TempDir() {
    std::string name = ::testing::TempDir() + "bitanchor-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no temporary folder");
    path_ = name;
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  ~TempDir() { std::filesystem::remove_all(path_); }

  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

  std::vector<std::string> Names() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(path_)) {
      names.push_back(entry.path().filename().string());
    }
    return names;
  }

 private:
  std::string path_;
};

inline void Spill(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary) << bytes;
}

inline std::string Slurp(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path, std::ios::binary).rdbuf();
  return out.str();
}

}  // namespace bitanchor::test

#endif  // BITANCHOR_TESTS_FILE_TEST_FILES_H_
