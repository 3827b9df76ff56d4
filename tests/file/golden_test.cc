#include "lib/file/golden.h"

#include <sys/stat.h>
#include <unistd.h>

#include <functional>

#include "lib/problem/generate.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

using nlohmann::json;

std::string Digits(char digit) { return std::string(64, digit); }

RopeConfig Rope() {
  RopeConfig rope;
  rope.recipe = "hf-llama";
  rope.rotary_dim = 8;
  return rope;
}

Golden Small() {
  Golden golden;
  golden.name = "small-1";
  golden.generator = kGen1Name;
  golden.recipe = "textbook";
  ProblemSpec& problem = golden.problem;
  problem.shape = {1, 4, 6, 2, 1, 8};
  problem.dtype = DType::kBF16;
  problem.mask = {MaskRule::kAnchor, true, 3, Corner::kBottomRight};
  problem.softmax_scale = 0.35355339f;
  problem.rope = Rope();
  problem.gradient = true;
  problem.documents = {2, 4};
  problem.seed = UINT64_MAX;
  const std::vector<int64_t> q = {1, 4, 2, 8}, k = {1, 6, 1, 8};
  golden.inputs = {{"q", DType::kBF16, q, Digits('1')},
                   {"k", DType::kBF16, k, Digits('2')},
                   {"v", DType::kBF16, k, Digits('3')},
                   {"document_ids", DType::kI64, {1, 6}, Digits('4')},
                   {"do", DType::kBF16, q, Digits('5')}};
  golden.outputs = {
      {"o", DType::kBF16, q, Digits('a')},      {"lse", DType::kF32, {1, 2, 4}, Digits('b')},
      {"q_rope", DType::kBF16, q, Digits('c')}, {"k_rope", DType::kBF16, k, Digits('d')},
      {"dq", DType::kBF16, q, Digits('e')},     {"dk", DType::kBF16, k, Digits('f')},
      {"dv", DType::kBF16, k, Digits('0')}};
  return golden;
}

Golden OfCapture() {
  Golden golden = Small();
  golden.generator = kCaptureGenerator;
  golden.tensors = true;
  golden.problem.documents = {};
  golden.problem.seed = 0;
  golden.problem.rope.reset();
  golden.problem.gradient = false;
  golden.problem.mask.window_keys.reset();
  golden.outputs.resize(2);
  golden.inputs.pop_back();
  return golden;
}

std::string RefusalOfGolden(const std::string& text) {
  return Refusal([&] { ParseGolden(text); });
}

// The text of Small() with something done to it.
std::string Changed(const std::function<void(json&)>& change) {
  json document = json::parse(GoldenText(Small()));
  change(document);
  return document.dump();
}

// The format is what people's folders hold: it may not move.
TEST(GoldenText, IsTheseBytes) {
  EXPECT_EQ(GoldenText(OfCapture()), R"({
  "version": 1,
  "name": "small-1",
  "generator": "capture",
  "do": false,
  "recipe": "textbook",
  "dtype": "BF16",
  "shape": {"B":1,"Sq":4,"Skv":6,"Hq":2,"Hkv":1,"D":8},
  "mask": {"rule":"anchor","causal":true,"window_keys":null,"corner":"bottom-right"},
  "softmax_scale": 0.3535533845424652,
  "rope": null,
  "tensors": true,
  "inputs": {
    "q": {"dtype":"BF16","shape":[1,4,2,8],"sha256":"1111111111111111111111111111111111111111111111111111111111111111"},
    "k": {"dtype":"BF16","shape":[1,6,1,8],"sha256":"2222222222222222222222222222222222222222222222222222222222222222"},
    "v": {"dtype":"BF16","shape":[1,6,1,8],"sha256":"3333333333333333333333333333333333333333333333333333333333333333"},
    "document_ids": {"dtype":"I64","shape":[1,6],"sha256":"4444444444444444444444444444444444444444444444444444444444444444"}
  },
  "outputs": {
    "o": {"dtype":"BF16","shape":[1,4,2,8],"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"},
    "lse": {"dtype":"F32","shape":[1,2,4],"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"}
  }
}
)");
}

TEST(GoldenText, ReadsBackTheSame) {
  for (const Golden& golden : {Small(), OfCapture()}) {
    const std::string text = GoldenText(golden);
    EXPECT_EQ(GoldenText(ParseGolden(text)), text);
  }
  Golden golden = Small();
  golden.problem.rope->type = RopeType::kLongrope;
  golden.problem.rope->short_factor = {1, 1.1, 1.25, 2};
  golden.problem.rope->long_factor = {1, 1e300, 0.1, 4};
  golden.problem.rope->factor = 1 / 3.0;
  EXPECT_EQ(ParseGolden(GoldenText(golden)).problem.rope->long_factor,
            golden.problem.rope->long_factor);
  const Golden read = ParseGolden(GoldenText(Small()));
  EXPECT_EQ(read.problem.seed, UINT64_MAX);
  EXPECT_EQ(read.problem.softmax_scale, 0.35355339f);
  EXPECT_EQ(read.problem.mask.window_keys, 3);
}

TEST(GoldenText, OrderAndSpacingAreFree) {
  const json document = json::parse(GoldenText(Small()));  // sorts the keys
  EXPECT_EQ(GoldenText(ParseGolden(document.dump(7))), GoldenText(Small()));
  EXPECT_EQ(GoldenText(ParseGolden(document.dump())), GoldenText(Small()));
}

TEST(GoldenHostile, EveryPrefixIsRefused) {
  const std::string text = GoldenText(Small());
  for (size_t size = 0; size < text.size() - 2; ++size) {  // the last newline may be missing
    ASSERT_NE(RefusalOfGolden(text.substr(0, size)), "") << size;
  }
  EXPECT_NE(RefusalOfGolden(text + "{}"), "");
  EXPECT_NE(RefusalOfGolden(text + text), "");
}

// Whatever one byte becomes: refused, or a golden that is written as it was read.
TEST(GoldenHostile, AnyByteMayBeWrong) {
  const std::string text = GoldenText(Small());
  int accepted = 0;
  for (size_t at = 0; at < text.size(); ++at) {
    for (const char byte : {'\0', '7', '"', '}', '\xff', ' '}) {
      std::string bad = text;
      bad[at] = byte;
      if (!RefusalOfGolden(bad).empty()) continue;
      ++accepted;
      ASSERT_EQ(json::parse(GoldenText(ParseGolden(bad))), json::parse(bad)) << at;
    }
  }
  EXPECT_GT(accepted, 500) << "digits of digests may be other ones";
}

// Removes each key at every level, and adds an unknown one.
void ForEachObject(json& at, const std::function<void(json&)>& call) {
  if (!at.is_object()) return;
  call(at);
  for (auto& [key, value] : at.items()) ForEachObject(value, call);
}

TEST(GoldenHostile, EveryKeyIsRequiredAndNoOtherIsAllowed) {
  json document = json::parse(GoldenText(Small()));
  int tried = 0;
  ForEachObject(document, [&](json& object) {
    const json whole = object;
    for (const auto& [key, value] : whole.items()) {
      object.erase(key);
      const bool is_input = whole.contains("document_ids");
      EXPECT_EQ(RefusalOfGolden(document.dump()).empty(), is_input) << key;
      object = whole;
      ++tried;
    }
    object["another"] = 1;
    EXPECT_NE(RefusalOfGolden(document.dump()), "");
    object = whole;
  });
  EXPECT_GT(tried, 50);
}

TEST(GoldenHostile, DuplicateKeysAreRefusedAtEveryLevel) {
  const std::string text = GoldenText(Small());
  for (const std::string key : {"\"version\"", "\"q\"", "\"sha256\"", "\"rule\"", "\"recipe\""}) {
    const size_t at = text.find(key);
    const size_t end = text.find_first_of(",}", text.find(key == "\"q\"" ? "}" : ":", at));
    std::string twice = text;
    const std::string member = text.substr(at, end - at) + (key == "\"q\"" ? "}" : "");
    twice.insert(at, member + ",");
    EXPECT_NE(RefusalOfGolden(twice).find("twice"), std::string::npos)
        << RefusalOfGolden(twice) << twice;
  }
}

struct Refused {
  std::string field;
  std::function<void(json&)> change;
};

TEST(GoldenHostile, WrongValuesNameTheirField) {
  const std::vector<Refused> all = {
      {"version", [](json& d) { d["version"] = 2; }},
      {"version", [](json& d) { d["version"] = "1"; }},
      {"version", [](json& d) { d["version"] = 1.0; }},
      {"version",
       [](json& d) {
         d = {{"version", 2}, {"of", "another format"}};
       }},
      {"document", [](json& d) { d = json::array({1}); }},
      {"generator", [](json& d) { d["generator"] = "gen-2"; }},
      {"generator", [](json& d) { d["generator"] = nullptr; }},
      {"seed", [](json& d) { d["generator"] = "capture"; }},
      {"recipe", [](json& d) { d["recipe"] = "flash"; }},
      {"seed", [](json& d) { d["seed"] = -1; }},
      {"seed", [](json& d) { d["seed"] = 1.5; }},
      {"seed", [](json& d) { d["seed"] = 1e30; }},
      {"documents",
       [](json& d) {
         d["documents"] = {1, 5.0};
       }},
      {"documents", [](json& d) { d["documents"] = "2,4"; }},
      {"reset_positions", [](json& d) { d["reset_positions"] = 0; }},
      {"do", [](json& d) { d["do"] = 1; }},
      {"dtype", [](json& d) { d["dtype"] = "bf16"; }},
      {"dtype", [](json& d) { d["dtype"] = "F64"; }},
      {"shape", [](json& d) { d["shape"] = {1, 4, 6, 2, 1, 8}; }},
      {"shape", [](json& d) { d["shape"]["Sq"] = 0; }},
      {"shape", [](json& d) { d["shape"]["B"] = -1; }},
      {"shape", [](json& d) { d["shape"]["B"] = INT64_MAX; }},
      {"shape", [](json& d) { d["shape"]["Skv"] = int64_t{1} << 40; }},
      {"shape.B", [](json& d) { d["shape"]["B"] = UINT64_MAX; }},
      {"shape.D", [](json& d) { d["shape"]["D"] = 8.0; }},
      {"mask.rule", [](json& d) { d["mask"]["rule"] = "causal"; }},
      {"mask.window_keys", [](json& d) { d["mask"]["window_keys"] = 0; }},
      {"softmax_scale", [](json& d) { d["softmax_scale"] = 0.3; }},  // no F32
      {"softmax_scale", [](json& d) { d["softmax_scale"] = 1e300; }},
      {"rope", [](json& d) { d["rope"] = "hf-llama"; }},
      {"rope.recipe", [](json& d) { d["rope"]["recipe"] = "none"; }},
      {"rope.factor", [](json& d) { d["rope"]["factor"] = 2.0; }},
      {"tensors", [](json& d) { d["tensors"] = "no"; }},
      {"inputs", [](json& d) { d["inputs"] = json::array(); }},
      {"inputs.q.sha256", [](json& d) { d["inputs"]["q"]["sha256"] = std::string(64, 'A'); }},
      {"inputs.q.sha256", [](json& d) { d["inputs"]["q"]["sha256"] = std::string(63, 'a'); }},
      {"inputs.q.sha256", [](json& d) { d["inputs"]["q"]["sha256"] = 7; }},
      {"inputs.q.dtype", [](json& d) { d["inputs"]["q"]["dtype"] = "U8"; }},
      {"inputs.q.shape",
       [](json& d) {
         d["inputs"]["q"]["shape"] = {1, "4"};
       }},
      {"inputs.o", [](json& d) { d["inputs"]["o"] = d["outputs"]["o"]; }},
      {"outputs.o.dtype", [](json& d) { d["outputs"]["o"]["dtype"] = "F32"; }},
      {"outputs.lse.shape.2", [](json& d) { d["outputs"]["lse"]["shape"][2] = 5; }},
      {"outputs.delta", [](json& d) { d["outputs"]["delta"] = d["outputs"]["o"]; }},
      {"outputs.dq", [](json& d) { d["do"] = false; }},
      {"outputs.q_rope", [](json& d) { d["rope"] = nullptr; }},
      {"name", [](json& d) { d["name"] = 1; }},
  };
  for (const Refused& one : all) {
    const std::string text = Changed(one.change);
    EXPECT_EQ(RefusalOfGolden(text).find(one.field + ": got "), 0u)
        << one.field << ": " << RefusalOfGolden(text);
  }
  EXPECT_EQ(RefusalOfGolden(Changed([](json&) {})), "") << "what is changed above is good";
}

TEST(GoldenNames, AreSafeFileNames) {
  for (const char* good : {"a", "0", "bf16-anchor_1"}) EXPECT_TRUE(IsGoldenName(good)) << good;
  EXPECT_TRUE(IsGoldenName(std::string(64, 'a')));
  EXPECT_FALSE(IsGoldenName(std::string(65, 'a')));
  for (const char* bad :
       {"", ".", "..", "../a", "a/b", "/a", "a.b", "A", "a b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(IsGoldenName(bad)) << bad;
  }
}

TEST(GoldenDigest, IsSha256OfTheElements) {
  const std::string abc = "abc";  // FIPS 180-2's example
  EXPECT_EQ(DigestOf({"x", DType::kU8, {3}, AsBytes(abc)}).sha256,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(GoldenDifferences, NameEachFieldInTheOrderOfTheText) {
  Golden got = Small();
  EXPECT_TRUE(Differences(got, Small()).empty());
  got.outputs[1].sha256 = Digits('7');
  got.inputs.pop_back();
  got.problem.mask.causal = false;
  const auto differences = Differences(got, Small());
  ASSERT_EQ(differences.size(), 3u);
  EXPECT_EQ(differences[0].field, "mask.causal");
  EXPECT_EQ(differences[0].got, "false");
  EXPECT_EQ(differences[1].field, "inputs.do");
  EXPECT_EQ(differences[1].got, "none");
  EXPECT_EQ(differences[2].field, "outputs.lse.sha256");
  EXPECT_EQ(differences[2].got, Digits('7'));
  EXPECT_EQ(differences[2].want, Digits('b'));
}

class GoldenFolder : public ::testing::Test {
 protected:
  void Keep(const std::string& name, const std::string& text) { Spill(dir_ / name, text); }
  std::string RefusalOfFolder() {
    return Refusal([&] { ReadGoldens(dir_ / "."); });
  }
  static std::string Named(const std::string& name, bool tensors = false) {
    Golden golden = Small();
    golden.name = name;
    golden.tensors = tensors;
    return GoldenText(golden);
  }

  TempDir dir_;
};

TEST_F(GoldenFolder, IsReadInTheOrderOfNames) {
  Keep("b.json", Named("b"));
  Keep("a.json", Named("a", true));
  Keep("a.problem.safetensors", "not looked at here");
  Keep("a.outputs.safetensors", "not looked at here");
  Keep("README.md", "let be");
  const std::vector<Golden> goldens = ReadGoldens(dir_ / ".");
  ASSERT_EQ(goldens.size(), 2u);
  EXPECT_EQ(goldens[0].name, "a");
  EXPECT_EQ(goldens[1].name, "b");
}

TEST_F(GoldenFolder, WithoutAGoldenIsRefused) {
  EXPECT_NE(RefusalOfFolder(), "");
  Keep("README.md", "");
  EXPECT_NE(RefusalOfFolder(), "");
  EXPECT_NE(Refusal([&] { ReadGoldens(dir_ / "absent"); }), "");
  EXPECT_NE(Refusal([&] { ReadGoldens(dir_ / "README.md"); }), "");
}

TEST_F(GoldenFolder, OneBadFileIsEnough) {
  const std::string good = Named("a");
  Keep("a.json", good);
  EXPECT_EQ(RefusalOfFolder(), "");
  for (const auto& [name, text] :
       std::map<std::string, std::string>{{"b.json", good},  // another's name
                                          {"b.json", ""},
                                          {"b.json", good.substr(0, 100)},
                                          {"b.json", std::string((1 << 22) + 1, ' ')},
                                          {"B.json", Named("B")},
                                          {".json", Named("")},
                                          {"a.b.json", Named("a.b")},
                                          {"x.json", Named("../x")},
                                          {"a.problem.safetensors", "of no golden"},
                                          {"stray.safetensors", "of no golden"}}) {
    Keep(name, text);
    EXPECT_NE(RefusalOfFolder(), "") << name;
    std::filesystem::remove(dir_ / name);
  }
  EXPECT_EQ(RefusalOfFolder(), "");
}

TEST_F(GoldenFolder, MissingTensorsAreRefused) {
  Keep("a.json", Named("a", true));
  EXPECT_NE(RefusalOfFolder().find("a.outputs.safetensors"), std::string::npos);
  Keep("a.outputs.safetensors", "");
  EXPECT_NE(RefusalOfFolder().find("a.problem.safetensors"), std::string::npos);
}

TEST_F(GoldenFolder, WhatIsNoFileIsRefused) {
  Keep("a.json", Named("a"));
  std::filesystem::create_directory(dir_ / "b.json");
  EXPECT_NE(RefusalOfFolder().find("a directory"), std::string::npos);
  std::filesystem::remove(dir_ / "b.json");
  ASSERT_EQ(::mkfifo((dir_ / "b.json").c_str(), 0600), 0);
  EXPECT_NE(RefusalOfFolder(), "");
  std::filesystem::remove(dir_ / "b.json");
  std::filesystem::create_symlink("/nonexistent", dir_ / "b.json");
  EXPECT_NE(RefusalOfFolder(), "");
  std::filesystem::remove(dir_ / "b.json");
  if (::geteuid() == 0) return;  // whom no permission keeps from reading
  Keep("b.json", Named("b"));
  ::chmod((dir_ / "b.json").c_str(), 0);
  EXPECT_NE(RefusalOfFolder(), "");
}

}  // namespace
}  // namespace bitanchor::test
