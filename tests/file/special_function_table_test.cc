// A dumped table is taken as it is where every entry may be what it says; one that may not is
// named.
#include "lib/file/special_function_table.h"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

struct Dump {
  uint32_t first = 0;
  std::vector<float> ex2, rcp;
  std::string first_dtype = "U32";
};

// A byte of U8 at the end moves nothing; one in front makes the floats lie at odd addresses.
std::string FileOf(const Dump& dump, bool odd = false) {
  std::string header = "{", data;
  const auto add = [&](const std::string& name, const std::string& dtype, size_t elements,
                       const std::string& bytes) {
    header += fmt::format(R"({}"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})",
                          header.size() == 1 ? "" : ",", name, dtype, elements, data.size(),
                          data.size() + bytes.size());
    data += bytes;
  };
  if (!dump.ex2.empty()) {
    add("ex2", "F32", dump.ex2.size(), Pack(dump.ex2));
    add("ex2_first", dump.first_dtype, 1,
        dump.first_dtype == "U32" ? Pack<uint32_t>({dump.first}) : Pack<int64_t>({dump.first}));
  }
  if (!dump.rcp.empty()) add("rcp", "F32", dump.rcp.size(), Pack(dump.rcp));
  header += "}";
  while (header.size() % 4 != (odd ? 3u : 0u)) header += ' ';
  return RawFile(header, data);
}

SpecialFunctionTable Read(const std::string& file) {
  return ReadSpecialFunctions(SafetensorsFile::Parse(AsBytes(file), "f"), "f");
}

std::string RefusalOf(const Dump& dump) {
  const std::string file = FileOf(dump);
  return Refusal([&] { Read(file); });
}

// Of the n numbers from `first` on, correctly rounded and flushed, by another function than the
// reader's.
Dump Exp2Of(uint32_t first, size_t n) {
  Dump dump;
  dump.first = first;
  for (size_t k = 0; k < n; ++k) {
    const float x = std::bit_cast<float>(first + static_cast<uint32_t>(k));
    const float value = std::fabs(x) < 0x1p-126f ? 1.0f : std::exp2(x);
    dump.ex2.push_back(std::fabs(value) < 0x1p-126f ? 0.0f : value);
  }
  return dump;
}

TEST(SpecialFunctionTable, HoldsWhatTheFileHolds) {
  for (const bool odd : {false, true}) {
    Dump dump = Exp2Of(0xbf800000, 1000);
    dump.ex2[17] = std::nextafter(dump.ex2[17], 0.0f);
    const std::string file = FileOf(dump, odd);
    const SpecialFunctionTable table = Read(file);
    ASSERT_EQ(table.exp2.size(), 1000u);
    EXPECT_EQ(table.exp2_first, 0xbf800000u);
    EXPECT_TRUE(std::equal(dump.ex2.begin(), dump.ex2.end(), table.exp2.begin()));
    EXPECT_TRUE(table.reciprocal.empty());
  }
  Dump wide = Exp2Of(0xbf800000, 3);
  wide.first_dtype = "I64";
  const std::string file = FileOf(wide);
  EXPECT_EQ(Read(file).exp2_first, 0xbf800000u);
}

// Around every corner: -0, subnormals, results that are flushed, infinities, NaN.
TEST(SpecialFunctionTable, CornersArePlausible) {
  for (const uint32_t first : {0x00000000u, 0x007fff80u, 0x80000000u, 0x807fff80u, 0xc2fbff00u,
                               0xc3160000u, 0x42ffff00u, 0x7f7fff80u, 0xff7fff80u, 0xffffff00u}) {
    EXPECT_EQ(RefusalOf(Exp2Of(first, 256)), "") << std::hex << first;
  }
}

TEST(SpecialFunctionTable, NamesAnEntryThatCannotBe) {
  Dump dump = Exp2Of(0xbf800000, 1000);
  dump.ex2[17] *= 1 + 0x1p-19f;
  EXPECT_EQ(RefusalOf(dump).find("ex2[17]: got"), 0u);
  for (const float wrong : {0.0f, -0.5f, HUGE_VALF, std::nanf("")}) {
    dump.ex2[17] = wrong;
    EXPECT_EQ(RefusalOf(dump).find("ex2[17]: got"), 0u) << wrong;
  }
  dump = Exp2Of(0xc2fbff00, 512);
  dump.ex2[256] = 0x1p-127f;  // not flushed
  EXPECT_EQ(RefusalOf(dump).find("ex2[256]: got"), 0u);
}

TEST(SpecialFunctionTable, ReciprocalsAreThoseOfAllNumbersFrom1To2) {
  Dump dump;
  for (uint32_t n = 0; n < 1u << 23; ++n) {
    dump.rcp.push_back(1 / std::bit_cast<float>(0x3f800000u + n));
  }
  const std::string right = FileOf(dump);
  EXPECT_EQ(Read(right).reciprocal.size(), size_t{1} << 23);
  dump.rcp[8388607] = 0.49f;
  EXPECT_EQ(RefusalOf(dump).find("rcp[8388607]: got 0.49"), 0u);
  dump.rcp.pop_back();
  EXPECT_EQ(RefusalOf(dump).find("rcp: got F32 [8388607]"), 0u);
}

TEST(SpecialFunctionTable, Refusals) {
  const auto refusal = [](const std::string& file) { return Refusal([&] { Read(file); }); };
  EXPECT_EQ(refusal(RawFile("{}")).find("f: got neither ex2 nor rcp"), 0u);
  const std::string one = Pack<float>({1});
  EXPECT_EQ(refusal(RawFile(R"({"ex2":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", one))
                .find("ex2_first: got none"),
            0u);
  EXPECT_EQ(refusal(RawFile(R"({"lg2":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", one))
                .find("lg2: got a tensor of this name"),
            0u);
  EXPECT_EQ(refusal(RawFile(R"({"ex2":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}})", one))
                .find("ex2: got I32 [1], want F32 [N]"),
            0u);
  EXPECT_EQ(RefusalOf(Exp2Of(0xffffffff, 2)).find("ex2: got F32 [2]"), 0u);
  Dump negative = Exp2Of(0x80000000, 2);
  negative.first_dtype = "I64";
  std::string file = FileOf(negative);
  file.replace(file.size() - 8, 8, Pack<int64_t>({-1}));
  EXPECT_EQ(refusal(file).find("ex2_first: got"), 0u);
}

}  // namespace
}  // namespace bitanchor::test
