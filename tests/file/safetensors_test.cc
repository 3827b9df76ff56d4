#include "lib/file/safetensors.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "lib/file/byte_order.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

SafetensorsFile Parse(const std::string& bytes) {
  return SafetensorsFile::Parse(AsBytes(bytes), "memory");
}

std::string ParseRefusal(const std::string& bytes) {
  return Refusal([&] { Parse(bytes); });
}

std::string DataOf(const TensorEntry& entry) {
  return {reinterpret_cast<const char*>(entry.data), entry.bytes};
}

// Laid out by hand from the format's description: 0x70 bytes of header, five of them padding, then
// 1.0f and 2.0 in bf16.
const char kByHand[] =
    "\x70\0\0\0\0\0\0\0"
    "{\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
    "\"a\":{\"data_offsets\":[4,6],\"dtype\":\"BF16\",\"shape\":[]}}"
    "     "
    "\0\0\x80\x3f\0\x40";

TEST(Safetensors, ReadsAFileLaidOutByHand) {
  const std::string bytes(kByHand, sizeof kByHand - 1);
  ASSERT_EQ(bytes.size(), 8u + 0x70 + 6);
  const SafetensorsFile file = Parse(bytes);
  ASSERT_EQ(file.entries().size(), 2u);
  EXPECT_TRUE(file.metadata().empty());
  const TensorEntry &b = file.entries()[0], &a = file.entries()[1];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.dtype, DType::kF32);
  EXPECT_EQ(b.shape, std::vector<int64_t>{1});
  EXPECT_EQ(b.bytes, 4u);
  EXPECT_EQ(LoadF32(b.dtype, b.data), 1.0f);
  EXPECT_EQ(a.name, "a");
  EXPECT_EQ(a.dtype, DType::kBF16);
  EXPECT_TRUE(a.shape.empty());
  EXPECT_EQ(a.bytes, 2u);
  EXPECT_EQ(LoadF32(a.dtype, a.data), 2.0f);
  EXPECT_EQ(file.Find("a"), &a);
  EXPECT_EQ(file.Find("c"), nullptr);
}

TEST(Safetensors, ReadsFromAPathAndOutlivesMoves) {
  const TempDir dir;
  Spill(dir / "a", std::string(kByHand, sizeof kByHand - 1));
  SafetensorsFile file = SafetensorsFile::Open(dir / "a");
  const SafetensorsFile moved = std::move(file);
  EXPECT_EQ(LoadF32(DType::kF32, moved.Find("b")->data), 1.0f);
  EXPECT_EQ(LoadF32(DType::kBF16, moved.Find("a")->data), 2.0f);
}

TEST(Safetensors, ReadsMetadataAndTensorsOfNoBytes) {
  const std::string bytes =
      RawFile(R"({"__metadata__":{"format":"pt","k":"\u0000é"},"z":{"dtype":"I64","shape":[3,0],)"
              R"("data_offsets":[1,1]},"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
              R"("y":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}})",
              "!");
  const SafetensorsFile file = Parse(bytes);
  EXPECT_EQ(file.metadata(), (StringMap{{"format", "pt"}, {"k", std::string("\0\xc3\xa9", 3)}}));
  ASSERT_EQ(file.entries().size(), 3u);
  EXPECT_EQ(file.entries()[0].name, "y");
  EXPECT_EQ(file.entries()[1].name, "x");
  EXPECT_EQ(file.entries()[2].name, "z");
  EXPECT_EQ(DataOf(*file.Find("x")), "!");
  EXPECT_EQ(file.Find("z")->bytes, 0u);
  EXPECT_TRUE(Parse(RawFile("{}")).entries().empty());
}

TEST(Safetensors, ReadsEveryDType) {
  for (const char* dtype :
       {"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I16", "U16", "F16",
        "BF16", "I32", "U32", "F32", "F64", "I64", "U64"}) {
    SCOPED_TRACE(dtype);
    const size_t width = DTypeBytes(*DTypeFromName(dtype));
    const std::string header = fmt::format(
        R"({{"x":{{"dtype":"{}","shape":[2,3],"data_offsets":[0,{}]}}}})", dtype, 6 * width);
    const SafetensorsFile file = Parse(RawFile(header, std::string(6 * width, 'd')));
    EXPECT_EQ(DTypeName(file.entries().at(0).dtype), dtype);
  }
}

TEST(Safetensors, RefusesEveryTruncation) {
  TestFile file = SmallProblem(1, 2, 2, 1, 1, 2);
  file.metadata = R"({"version": 1})";
  const std::string bytes = file.Build();
  EXPECT_EQ(ParseRefusal(bytes), "");
  for (size_t size = 0; size < bytes.size(); ++size) {
    // A copy of that very size, so that a sanitizer sees a read past the end.
    const std::vector<std::byte> cut(AsBytes(bytes).begin(), AsBytes(bytes).begin() + size);
    EXPECT_NE(Refusal([&] { SafetensorsFile::Parse(cut, "memory"); }), "") << size << " bytes";
  }
}

TEST(Safetensors, RefusesHeaderLengthsThatCannotBe) {
  const std::string rest = "{}      ";
  EXPECT_EQ(ParseRefusal(LittleU64(8) + rest), "");
  for (const uint64_t length :
       {uint64_t{0}, uint64_t{1}, uint64_t{9}, uint64_t{100'000'000}, uint64_t{100'000'001},
        uint64_t{1} << 32, uint64_t{1} << 60, uint64_t{1} << 63, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    EXPECT_NE(ParseRefusal(LittleU64(length) + rest), "") << length;
  }
  EXPECT_EQ(ParseRefusal(LittleU64(9) + rest),
            "memory: got a header length of 9 bytes, want at most 8, as a safetensors file of this "
            "size allows");
  EXPECT_EQ(ParseRefusal(LittleU64(uint64_t{1} << 63) + rest),
            "memory: got a header length of 9223372036854775808 bytes, want at most 8, as a "
            "safetensors file of this size allows");
}

TEST(Safetensors, AllowsAHundredMillionBytesOfHeaderAndNoMore) {
  std::string bytes = LittleU64(100'000'000) + "{}" + std::string(99'999'998, ' ');
  EXPECT_EQ(ParseRefusal(bytes), "");
  bytes.replace(0, 8, LittleU64(100'000'001));
  bytes += ' ';
  EXPECT_EQ(ParseRefusal(bytes),
            "memory: got a header length of 100000001 bytes, want at most 100000000, as a "
            "safetensors file of this size allows");
}

TEST(Safetensors, RefusesHeadersThatAreNotOneObject) {
  for (const std::string header :
       {"", " ", " {}", "\n{}", "{}\n", "{}\t", "[]", "\"{}\"", "{}{}", "{} x", "{", "}",
        "\xef\xbb\xbf{}", "{\"a\":\"\xff\"}", "null", "{\"a\":NaN}", "{\"a\":1e999}"}) {
    EXPECT_NE(ParseRefusal(RawFile(header)), "") << header;
  }
  EXPECT_NE(ParseRefusal(RawFile(std::string("{}\0", 3))), "");
  EXPECT_NE(ParseRefusal(RawFile(std::string("{}\0}", 4))), "");
  EXPECT_EQ(ParseRefusal(RawFile("{}   ")), "");
  const std::string deep =
      "{\"a\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  EXPECT_NE(ParseRefusal(RawFile(deep)), "");
}

// One tensor "x" described by `object`, over four bytes of data.
std::string One(const std::string& object) { return RawFile("{\"x\":" + object + "}", "data"); }

TEST(Safetensors, RefusesTensorsThatAreNotDescribedExactly) {
  const std::string cases[] = {
      "null", "3", "[]", "{}", R"({"shape":[4],"data_offsets":[0,4]})",
      R"({"dtype":"U8","data_offsets":[0,4]})", R"({"dtype":"U8","shape":[4]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[0,4],"more":1})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[0,4],"dtype":"U8"})",
      R"({"dtype":"u8","shape":[4],"data_offsets":[0,4]})",
      R"({"dtype":"f32","shape":[1],"data_offsets":[0,4]})",
      R"({"dtype":"F33","shape":[1],"data_offsets":[0,4]})",
      R"({"dtype":"F32 ","shape":[1],"data_offsets":[0,4]})",
      R"({"dtype":"F32\u0000","shape":[1],"data_offsets":[0,4]})",
      R"({"dtype":"","shape":[4],"data_offsets":[0,4]})",
      R"({"dtype":1,"shape":[4],"data_offsets":[0,4]})",
      R"({"dtype":null,"shape":[4],"data_offsets":[0,4]})",
      R"({"dtype":["U8"],"shape":[4],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":4,"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":null,"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":"[4]","data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":{"0":4},"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":["4"],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[4.0],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[4e0],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[true,4],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[null,4],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[[4]],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[-4],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[-2,-2],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[-0],"data_offsets":[0,0]})",
      R"({"dtype":"U8","shape":[5],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[3],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[0],"data_offsets":[0,4]})",
      R"({"dtype":"F32","shape":[4],"data_offsets":[0,4]})",
      // 2^64 elements, 2^64 bytes of 2^63 elements, more than 64 bits in one number.
      R"({"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,4]})",
      R"({"dtype":"F32","shape":[4611686018427387905],"data_offsets":[0,4]})",
      R"({"dtype":"U16","shape":[9223372036854775807,2,2],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[9223372036854775808],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[18446744073709551620],"data_offsets":[0,4]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[0]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[0,4,4]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":4})",
      R"({"dtype":"U8","shape":[4],"data_offsets":["0","4"]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[0.0,4.0]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[0,-4]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[4,0]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[4,8]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[1,5]})",
      R"({"dtype":"U8","shape":[5],"data_offsets":[0,5]})",
      R"({"dtype":"U8","shape":[3],"data_offsets":[0,3]})",
      R"({"dtype":"U8","shape":[3],"data_offsets":[1,4]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[18446744073709551612,18446744073709551616]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[9223372036854775804,9223372036854775808]})",
      R"({"dtype":"U8","shape":[4],"data_offsets":[9223372036854775803,9223372036854775807]})"};
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4]})")), "");
  for (const std::string& object : cases) {
    const std::string refusal = ParseRefusal(One(object));
    EXPECT_EQ(refusal.substr(0, 1) == "x" || refusal.substr(0, 6) == "memory", true)
        << object << " gave " << refusal;
  }
}

TEST(Safetensors, SaysWhichFieldIsWrong) {
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"U8","shape":[4],"data_offsets":[4,0]})")),
            "x.data_offsets: got [4, 0], want [begin, end] with begin <= end");
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"U8","shape":[5],"data_offsets":[0,4]})")),
            "x.data_offsets: got [0, 4], want 5 bytes, as dtype and shape say");
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"f32","shape":[1],"data_offsets":[0,4]})")),
            "x.dtype: got \"f32\", want a dtype such as BF16, F16, F32, I32 or I64");
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"U8","shape":[-4],"data_offsets":[0,4]})")),
            "x.shape: got -4, want integers in 0..2^63 - 1");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"x":{"dtype":"U8","shape":[-0],"data_offsets":[0,0]}})")),
            "x.shape: got 0, want integers in 0..2^63 - 1");
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"U8","shape":[4],"data_offsets":[0,4],"more":1})")),
            "x: got a key \"more\", want an object of dtype, shape and data_offsets");
  EXPECT_EQ(ParseRefusal(One(R"({"dtype":"U8","shape":[4]})")),
            "x: got no data_offsets, want an object of dtype, shape and data_offsets");
}

TEST(Safetensors, RefusesDataThatIsNotCoveredExactly) {
  const auto two = [](const char* first, const char* second, const std::string& data) {
    return ParseRefusal(
        RawFile(fmt::format(R"({{"x":{{"dtype":"U8","shape":[2],"data_offsets":{}}},)"
                            R"("y":{{"dtype":"U8","shape":[2],"data_offsets":{}}}}})",
                            first, second),
                data));
  };
  EXPECT_EQ(two("[0,2]", "[2,4]", "data"), "");
  EXPECT_EQ(two("[2,4]", "[0,2]", "data"), "");
  const std::string want = ", want begin 2, where the tensor before ends, and an end within the ";
  EXPECT_EQ(two("[0,2]", "[0,2]", "da"), "y.data_offsets: got [0, 2]" + want + "2 bytes of data");
  EXPECT_EQ(two("[0,2]", "[1,3]", "dat"), "y.data_offsets: got [1, 3]" + want + "3 bytes of data");
  EXPECT_EQ(two("[0,2]", "[3,5]", "data!"),
            "y.data_offsets: got [3, 5]" + want + "5 bytes of data");
  EXPECT_EQ(two("[0,2]", "[2,4]", "dat"), "y.data_offsets: got [2, 4]" + want + "3 bytes of data");
  EXPECT_EQ(two("[0,2]", "[2,4]", "data!"),
            "memory: got 5 bytes of data, want 4, as the tensors' data_offsets say");
  EXPECT_NE(two("[1,3]", "[3,5]", "data!"), "");
  EXPECT_NE(ParseRefusal(RawFile("{}", "x")), "");
  // A tensor of no bytes must stand at a border too.
  const auto with_empty = [](int at) {
    return ParseRefusal(
        RawFile(fmt::format(R"({{"x":{{"dtype":"U8","shape":[4],"data_offsets":[0,4]}},)"
                            R"("e":{{"dtype":"U8","shape":[0],"data_offsets":[{},{}]}}}})",
                            at, at),
                "data"));
  };
  EXPECT_EQ(with_empty(0), "");
  EXPECT_EQ(with_empty(4), "");
  EXPECT_NE(with_empty(2), "");
  EXPECT_NE(with_empty(5), "");
}

TEST(Safetensors, RefusesDuplicatesAndOddMetadata) {
  const std::string x = R"("x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  EXPECT_EQ(ParseRefusal(RawFile("{" + x + "," + x + "}")),
            "x: got the same key twice in one object, want it once");
  EXPECT_EQ(
      ParseRefusal(RawFile(R"({"x":{"dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0]}})")),
      "x.shape: got the same key twice in one object, want it once");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"__metadata__":{"a":"1","b":"2","a":"1"}})")),
            "__metadata__.a: got the same key twice in one object, want it once");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"__metadata__":{},"__metadata__":{}})")),
            "__metadata__: got the same key twice in one object, want it once");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"__metadata__":{"a":1}})")),
            "__metadata__.a: got 1, want a string");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"__metadata__":{"bitanchor":{}}})")),
            "__metadata__.bitanchor: got an object, want a string");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"__metadata__":null})")),
            "__metadata__: got null, want an object of strings");
  EXPECT_EQ(ParseRefusal(RawFile(R"({"__metadata__":["a"]})")),
            "__metadata__: got an array, want an object of strings");
}

TEST(Safetensors, ShowsHostileNamesHarmlessly) {
  const std::string name = "\\u001b[31m\\n" + std::string(5000, 'n');
  const std::string refusal = ParseRefusal(RawFile("{\"" + name + "\":1}"));
  EXPECT_EQ(refusal.substr(0, 15), "\\x1b[31m\\x0annn") << refusal;
}

TEST(Safetensors, NamesThePathOfAFile) {
  const TempDir dir;
  Spill(dir / "short", "1234567");
  EXPECT_EQ(Refusal([&] { SafetensorsFile::Open(dir / "short"); }),
            dir / "short" +
                ": got 7 bytes, want a safetensors file, which begins with 8 bytes of header "
                "length");
  EXPECT_NE(Refusal([&] { SafetensorsFile::Open(dir / "none"); }), "");
  EXPECT_NE(Refusal([&] { SafetensorsFile::Open(dir / "."); }), "");
}

TEST(ByteOrder, SwapsElementsAndNothingElse) {
  std::string text = "abcdefgh";
  const auto bytes = std::as_writable_bytes(std::span(text));
  ReverseElements(bytes, 1);
  EXPECT_EQ(text, "abcdefgh");
  ReverseElements(bytes, 2);
  EXPECT_EQ(text, "badcfehg");
  ReverseElements(bytes, 2);
  ReverseElements(bytes, 4);
  EXPECT_EQ(text, "dcbahgfe");
  ReverseElements(bytes, 4);
  ReverseElements(bytes, 8);
  EXPECT_EQ(text, "hgfedcba");
  const std::string little = LittleU64(0x0123456789abcdef);
  EXPECT_EQ(LoadLittleU64(AsBytes(little).data()), 0x0123456789abcdefu);
  std::string stored(8, '\0');
  StoreLittleU64(0x0123456789abcdef, stored.data());
  EXPECT_EQ(stored, little);
}

}  // namespace
}  // namespace bitanchor::test
