#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "lib/file/safetensors.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

OutTensor Out(const std::string& name, DType dtype, const std::vector<int64_t>& shape,
              const std::string& bytes) {
  return {name, dtype, shape, AsBytes(bytes)};
}

TEST(WriteSafetensors, WritesTheseVeryBytes) {
  const std::string one = "\x01\x02", two = "abcdefgh", three = "ABCD", four = "!";
  const std::vector<OutTensor> tensors = {
      Out("u", DType::kU8, {1}, four), Out("b", DType::kF32, {1}, three),
      Out("h", DType::kBF16, {}, one), Out("a", DType::kF32, {1, 2}, two)};
  const TempDir dir;
  WriteSafetensors(dir / "x", tensors, {{"m", "\"\n"}, {"l", "\xc3\xa9"}});
  std::string header = R"({"__metadata__":{"l":"é","m":"\"\n"},)"
                       R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},)"
                       R"("b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]},)"
                       R"("h":{"dtype":"BF16","shape":[],"data_offsets":[12,14]},)"
                       R"("u":{"dtype":"U8","shape":[1],"data_offsets":[14,15]}})";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  EXPECT_EQ(Slurp(dir / "x"), RawFile(header, two + three + one + four));
  EXPECT_EQ(dir.Names(), std::vector<std::string>{"x"});
  EXPECT_EQ(SafetensorsHeader(tensors, {}).find("__metadata__"), std::string::npos);
}

TEST(WriteSafetensors, IsReadBack) {
  const std::string i64 = Pack(std::vector<int64_t>{1, -2, INT64_MAX});
  const std::string f16 = Pack(std::vector<uint16_t>{0x3c00, 0x7e00});
  const std::vector<OutTensor> tensors = {Out("name \"quoted\"\n", DType::kF16, {2, 1}, f16),
                                          Out("ids", DType::kI64, {3}, i64),
                                          Out("none", DType::kF32, {0, 7}, "")};
  const TempDir dir;
  WriteSafetensors(dir / "x", tensors, {{"k", "v"}});
  const SafetensorsFile file = SafetensorsFile::Open(dir / "x");
  EXPECT_EQ(file.metadata(), (StringMap{{"k", "v"}}));
  ASSERT_EQ(file.entries().size(), 3u);
  for (const OutTensor& want : tensors) {
    const TensorEntry* const got = file.Find(want.name);
    ASSERT_NE(got, nullptr) << want.name;
    EXPECT_EQ(got->dtype, want.dtype);
    EXPECT_EQ(got->shape, want.shape);
    ASSERT_EQ(got->bytes, want.bytes.size());
    EXPECT_TRUE(std::equal(want.bytes.begin(), want.bytes.end(), got->data));
  }
  WriteSafetensors(dir / "empty", {}, {});
  EXPECT_EQ(Slurp(dir / "empty"), RawFile("{}      "));
  EXPECT_TRUE(SafetensorsFile::Open(dir / "empty").entries().empty());
}

TEST(WriteSafetensors, FailsWithoutATrace) {
  const TempDir dir;
  const std::string data(1 << 20, 'x');
  const std::vector<OutTensor> tensors = {Out("x", DType::kU8, {1 << 20}, data)};
  EXPECT_NE(Refusal([&] { WriteSafetensors(dir / "none/x", tensors, {}); }), "");
  EXPECT_NE(Refusal([&] { WriteSafetensors(dir / ".", tensors, {}); }), "");
  EXPECT_NE(Refusal([&] { WriteSafetensors(dir / "x", tensors, {{"m", "\xff"}}); }), "");
  EXPECT_TRUE(dir.Names().empty());
  if (!std::filesystem::is_character_file("/dev/full")) GTEST_SKIP() << "no /dev/full here";
  EXPECT_EQ(Refusal([&] { WriteSafetensors("/dev/full", tensors, {}); }),
            "/dev/full: got \"No space left on device\", want a file that can be written");
}

}  // namespace
}  // namespace bitanchor::test
