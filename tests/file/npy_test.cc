// .npy files laid out by hand, ordinary ones and hostile ones.
#include "lib/file/npy.h"

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

using Numbers = std::vector<int64_t>;

// Version 1, or 2 and 3 with their longer length.
std::string Npy(const std::string& header, const std::string& data, int major = 1) {
  std::string file = std::string("\x93NUMPY") + static_cast<char>(major) + '\0';
  for (int i = 0; i < (major == 1 ? 2 : 4); ++i) {
    file += static_cast<char>(header.size() >> (8 * i) & 0xff);
  }
  return file + header + data;
}

std::string Header(const std::string& descr, int64_t size) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': (" + std::to_string(size) +
         ",), }          \n";
}

Numbers Parse(const std::string& file) { return ParseNpyIntegers(AsBytes(file), "x"); }

std::string NpyRefusal(const std::string& file) {
  return Refusal([&] { Parse(file); });
}

template <typename T>
std::string Swapped(const std::vector<T>& values) {
  std::string bytes = Pack(values);
  for (size_t at = 0; at < bytes.size(); at += sizeof(T)) {
    std::reverse(bytes.begin() + at, bytes.begin() + at + sizeof(T));
  }
  return bytes;
}

TEST(Npy, EveryIntegerType) {
  EXPECT_EQ(Parse(Npy(Header("|i1", 2), Pack<int8_t>({-128, 127}))), (Numbers{-128, 127}));
  EXPECT_EQ(Parse(Npy(Header("|u1", 2), Pack<uint8_t>({0, 255}))), (Numbers{0, 255}));
  EXPECT_EQ(Parse(Npy(Header("<i2", 2), Pack<int16_t>({-2, 300}))), (Numbers{-2, 300}));
  EXPECT_EQ(Parse(Npy(Header("<u2", 1), Pack<uint16_t>({65535}))), (Numbers{65535}));
  EXPECT_EQ(Parse(Npy(Header("<i4", 1), Pack<int32_t>({INT32_MIN}))), (Numbers{INT32_MIN}));
  EXPECT_EQ(Parse(Npy(Header("<u4", 1), Pack<uint32_t>({UINT32_MAX}))), (Numbers{UINT32_MAX}));
  EXPECT_EQ(Parse(Npy(Header("<i8", 2), Pack<int64_t>({INT64_MIN, INT64_MAX}))),
            (Numbers{INT64_MIN, INT64_MAX}));
  EXPECT_EQ(Parse(Npy(Header("<u8", 1), Pack<uint64_t>({INT64_MAX}))), (Numbers{INT64_MAX}));
  EXPECT_EQ(Parse(Npy(Header(">i4", 2), Swapped<int32_t>({-7, 1 << 20}))), (Numbers{-7, 1 << 20}));
  EXPECT_EQ(Parse(Npy(Header(">u2", 1), Swapped<uint16_t>({0x1234}))), (Numbers{0x1234}));
  EXPECT_EQ(Parse(Npy(Header("<i8", 0), "")), Numbers{});
}

TEST(Npy, EveryVersionAndSpelling) {
  const std::string data = Pack<int32_t>({5, 6});
  for (const int major : {1, 2, 3}) {
    EXPECT_EQ(Parse(Npy(Header("<i4", 2), data, major)), (Numbers{5, 6})) << major;
  }
  for (const char* header : {
           "{'shape':(2,),'fortran_order':True,'descr':'<i4'}",
           "{\"descr\": \"<i4\", \"fortran_order\": False, \"shape\": (2)}  \n",
           "{ 'descr' : '<i4' , 'shape' : ( 2 , ) , 'fortran_order' : False , } ",
       }) {
    EXPECT_EQ(Parse(Npy(header, data)), (Numbers{5, 6})) << header;
  }
}

TEST(Npy, Hostile) {
  const std::string good = Npy(Header("<i4", 2), Pack<int32_t>({5, 6}));
  ASSERT_EQ(NpyRefusal(good), "");
  const auto dict = [](const std::string& text) { return Npy(text, Pack<int32_t>({5, 6})); };
  const std::string order = "'fortran_order': False", shape = "'shape': (2,)",
                    descr = "'descr': '<i4'";
  for (const auto& [what, file] : std::vector<std::pair<std::string, std::string>>{
           {"nothing", ""},
           {"another magic", "\x93NUMPX" + good.substr(6)},
           {"the magic alone", good.substr(0, 6)},
           {"no length", good.substr(0, 8)},
           {"half the header", good.substr(0, 30)},
           {"half the data", good.substr(0, good.size() - 1)},
           {"more data", good + '\0'},
           {"a header past the end", Npy(Header("<i4", 2), "").substr(0, 20)},
           {"an object array", Npy(Header("|O", 1), "\x80\x04N.")},
           {"floats", Npy(Header("<f8", 1), std::string(8, 0))},
           {"bf16 as void", Npy(Header("|V2", 1), std::string(2, 0))},
           {"booleans", Npy(Header("|b1", 1), std::string(1, 0))},
           {"times", Npy(Header("<M8", 1), std::string(8, 0))},
           {"a width of 3", Npy(Header("<i3", 1), std::string(3, 0))},
           {"no byte order", Npy(Header("|i4", 2), std::string(8, 0))},
           {"the writer's byte order", Npy(Header("=i4", 2), std::string(8, 0))},
           {"a long descr", Npy(Header("<i16", 1), std::string(16, 0))},
           {"a structured type", dict("{'descr': [('a', '<i4')], " + order + ", " + shape + "}")},
           {"two axes",
            Npy("{" + descr + ", " + order + ", 'shape': (1, 2)}", Pack<int32_t>({5, 6}))},
           {"no axis", Npy("{" + descr + ", " + order + ", 'shape': ()}", Pack<int32_t>({5}))},
           {"a negative size", dict("{" + descr + ", " + order + ", 'shape': (-2,)}")},
           {"a size past 64 bits",
            dict("{" + descr + ", " + order + ", 'shape': (99999999999999999999,)}")},
           {"a size that overflows in bytes",
            dict("{" + descr + ", " + order + ", 'shape': (4611686018427387906,)}")},
           {"a key too many", dict("{" + descr + ", " + order + ", " + shape + ", 'x': 1}")},
           {"a key twice", dict("{" + descr + ", " + order + ", " + shape + ", " + shape + "}")},
           {"a key missing", dict("{" + descr + ", " + shape + "}")},
           {"no dict", dict("(" + descr + ")")},
           {"an open dict", dict("{" + descr + ", " + order + ", " + shape)},
           {"an open string", dict("{'descr")},
           {"something behind", dict("{" + descr + ", " + order + ", " + shape + "} + exit()")},
           {"an expression", dict("{" + descr + ", 'fortran_order': not 1, " + shape + "}")},
           {"version 4", Npy(Header("<i4", 2), std::string(8, 0), 4)},
           {"version 0", Npy(Header("<i4", 2), std::string(8, 0), 0)},
           {"a vast header", Npy(std::string(70000, ' ') + Header("<i4", 2), "", 2)},
           {"numbers past 2^63", Npy(Header("<u8", 1), Pack<uint64_t>({uint64_t{1} << 63}))},
       }) {
    EXPECT_NE(NpyRefusal(file), "") << what;
  }
  EXPECT_EQ(NpyRefusal(Npy(Header("|O", 1), "x")),
            "descr: got \"|O\", want integers, as \"<i8\" or \"<u4\"");
  EXPECT_EQ(NpyRefusal(good + "x"),
            "shape: got (2,) of 4 bytes each for 9 bytes, want as many as there are");
}

// Bytes changed at random: read or refused in one line, never anything else (the sanitizers look).
TEST(Npy, ChangedBytes) {
  const std::string good = Npy(Header("<i4", 3), Pack<int32_t>({5, 6, 7}));
  std::mt19937_64 random(1);
  int64_t refused = 0;
  for (int n = 0; n < 20000; ++n) {
    std::string file = good;
    for (uint64_t changes = 1 + random() % 3; changes > 0; --changes) {
      file[random() % file.size()] = static_cast<char>(random());
    }
    if (random() % 4 == 0) file.resize(random() % file.size());
    refused += !NpyRefusal(file).empty();
  }
  EXPECT_GT(refused, 10000);
}

}  // namespace
}  // namespace bitanchor::test
