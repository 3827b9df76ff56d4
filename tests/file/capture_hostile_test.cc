// Captures whose tensors are wrong: what the error names.
#include <gtest/gtest.h>

#include <functional>
#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

struct Case {
  const char* what;
  std::function<void(TestFile&)> break_it;
  std::string refusal;  // or its beginning, where it ends in "..."
};

// Everything there is: B 1, Sq 4, Skv 5, Hq 2, Hkv 1, D 8.
TestFile FullCapture() {
  TestFile file = SmallProblem(1, 4, 5, 2, 1, 8);
  file.tensors["o"] = CountBF16({1, 4, 2, 8}, 0x3c00);
  file.tensors["lse"] = CountF32({1, 2, 4}, 0);
  file.tensors["q_rope"] = CountBF16({1, 4, 2, 8}, 0x3c00);
  file.tensors["k_rope"] = CountBF16({1, 5, 1, 8}, 0x3c00);
  file.tensors["do"] = CountBF16({1, 4, 2, 8}, 0x3c00);
  file.tensors["dq"] = CountBF16({1, 4, 2, 8}, 0x3c00);
  file.tensors["dk"] = CountBF16({1, 5, 1, 8}, 0x3c00);
  file.tensors["dv"] = CountBF16({1, 5, 1, 8}, 0x3c00);
  file.tensors["document_ids"] = I32({1, 5}, {0, 1, 1, 2, 2});
  file.tensors["position_ids"] = I64({1, 5}, {0, 1, 2, 3, 4});
  file.tensors["q_document_ids"] = I64({1, 4}, {0, 1, 1, 2});
  file.tensors["q_position_ids"] = I32({1, 4}, {0, 1, 2, 3});
  file.tensors["cos"] = CountF32({5, 4}, 0);
  file.tensors["sin"] = CountF32({5, 4}, 0);
  file.tensors["inv_freq"] = CountF32({4}, 0);
  file.metadata = R"({"mask": {"rule": "anchor"}, "rope": {"recipe": "hf-llama"}})";
  return file;
}

void ExpectRefusals(const std::vector<Case>& cases) {
  ASSERT_EQ(RefusalOf(FullCapture()), "");
  for (const auto& [what, break_it, want] : cases) {
    SCOPED_TRACE(what);
    TestFile file = FullCapture();
    break_it(file);
    const std::string got = RefusalOf(file);
    if (want.size() > 3 && want.substr(want.size() - 3) == "...") {
      EXPECT_EQ(got.substr(0, want.size() - 3) + "...", want) << got;
    } else {
      EXPECT_EQ(got, want);
    }
  }
}

auto Drop(std::string name) {
  return [name](TestFile& file) { file.tensors.erase(name); };
}

auto Put(std::string name, TestTensor tensor) {
  return [name, tensor](TestFile& file) { file.tensors[name] = tensor; };
}

TEST(HostileCapture, MissingAndUnknownTensors) {
  const auto without = [](std::string metadata, std::vector<std::string> names) {
    return [=](TestFile& file) {
      file.metadata = metadata;
      for (const std::string& name : names) file.tensors.erase(name);
    };
  };
  ExpectRefusals({
      {"no q", Drop("q"), "q: got no tensor, want one, as every capture has"},
      {"no k", Drop("k"), "k: got no tensor, want one, as every capture has"},
      {"no v", Drop("v"), "v: got no tensor, want one, as every capture has"},
      {"nothing", [](TestFile& file) { file.tensors.clear(); },
       "q: got no tensor, want one, as every capture has"},
      {"unknown", Put("out", CountF32({1}, 0)), "out: got a tensor of this name, want one of q..."},
      {"upper case", Put("Q", CountF32({1}, 0)), "Q: got a tensor of this name, want one of q..."},
      {"no name", Put("", CountF32({1}, 0)), "\"\": got a tensor of this name, want one of q..."},
      {"no cos", Drop("cos"), "cos: got no tensor, want both cos and sin, or neither"},
      {"no sin", Drop("sin"), "sin: got no tensor, want both cos and sin, or neither"},
      {"no document_ids", Drop("document_ids"),
       "document_ids: got no tensor, want one, or cu_seqlens: rule anchor needs it"},
      {"no document_ids, rule document",
       without(R"({"mask": {"rule": "document"},
       "rope": {"recipe": "hf-llama"}})",
               {"document_ids", "q_document_ids"}),
       "document_ids: got no tensor, want one, or cu_seqlens: rule document needs it"},
      {"only the queries' ids", without(R"({"rope": {"recipe": "hf-llama"}})", {"document_ids"}),
       "document_ids: got no tensor, want one, or cu_seqlens: q_document_ids is nothing without "
       "it"},
      {"inv_freq with a recipe that has none",
       without(R"({"mask": {"rule": "anchor"}, "rope": {"recipe": "ggml-cpu"}})", {}),
       "inv_freq: got a tensor, want none with recipe ggml-cpu, which iterates its angles"},
      {"q_rope without rope", without("{}", {}),
       "q_rope: got a tensor, want none without rope in the metadata"},
      {"k_rope without rope", without("{}", {"q_rope"}),
       "k_rope: got a tensor, want none without rope in the metadata"},
      {"cos without rope", without("{}", {"q_rope", "k_rope"}),
       "cos: got a tensor, want none without rope in the metadata"},
      {"inv_freq without rope", without("{}", {"q_rope", "k_rope", "cos", "sin"}),
       "inv_freq: got a tensor, want none without rope in the metadata"},
      {"no do", Drop("do"), "dq: got a tensor, want none without do"},
  });
}

TEST(HostileCapture, DTypes) {
  const auto as = [](std::string name, std::string dtype, size_t width) {
    return [=](TestFile& file) {
      TestTensor& tensor = file.tensors[name];
      tensor.dtype = dtype;
      tensor.bytes.assign(static_cast<size_t>(Product(tensor.shape)) * width, '\1');
    };
  };
  ExpectRefusals({
      {"q", as("q", "F64", 8), "q: got F64, want BF16, F16 or F32"},
      {"k", as("k", "I32", 4), "k: got I32, want BF16, F16 or F32"},
      {"k unlike q", as("k", "F16", 2), "k: got F16, want BF16, the dtype of the problem"},
      {"v unlike q", as("v", "F32", 4), "v: got F32, want BF16, the dtype of the problem"},
      {"o", as("o", "U16", 2), "o: got U16, want BF16, F16 or F32"},
      {"lse", as("lse", "BF16", 2), "lse: got BF16, want F32"},
      {"lse wide", as("lse", "F64", 8), "lse: got F64, want F32"},
      {"q_rope", as("q_rope", "F16", 2), "q_rope: got F16, want BF16, as q has, or F32"},
      {"k_rope", as("k_rope", "F16", 2), "k_rope: got F16, want BF16, as q has, or F32"},
      {"do", as("do", "F32", 4), "do: got F32, want BF16, as o has"},
      {"dq", as("dq", "F8_E4M3", 1), "dq: got F8_E4M3, want BF16, F16 or F32"},
      {"dk", as("dk", "BOOL", 1), "dk: got BOOL, want BF16, F16 or F32"},
      {"dv", as("dv", "I16", 2), "dv: got I16, want BF16, F16 or F32"},
      {"document_ids", as("document_ids", "U32", 4), "document_ids: got U32, want I32 or I64"},
      {"position_ids", as("position_ids", "F32", 4), "position_ids: got F32, want I32 or I64"},
      {"q_document_ids", as("q_document_ids", "U64", 8),
       "q_document_ids: got U64, want I32 or I64"},
      {"q_position_ids", as("q_position_ids", "I16", 2),
       "q_position_ids: got I16, want I32 or I64"},
      {"cos", as("cos", "F64", 8), "cos: got F64, want BF16, F16 or F32"},
      {"sin", as("sin", "I32", 4), "sin: got I32, want BF16, F16 or F32"},
      {"inv_freq", as("inv_freq", "F64", 8), "inv_freq: got F64, want BF16, F16 or F32"},
  });
}

TEST(HostileCapture, Shapes) {
  ExpectRefusals({
      {"q of one axis", Put("q", CountBF16({8}, 0)),
       "q: got shape [8], want 4 axes, as layout bshd says"},
      {"q of five", Put("q", CountBF16({1, 1, 4, 2, 8}, 0)),
       "q: got shape [1, 1, 4, 2, 8], want 4 axes, as layout bshd says"},
      {"q of none", Put("q", CountBF16({}, 0)), "q: got shape [], want [B, S, H, D]"},
      {"k of three", Put("k", CountBF16({5, 1, 8}, 0)),
       "k: got shape [5, 1, 8], want 4 axes, as layout bshd says"},
      {"wide heads", Put("q", CountBF16({1, 1, 1, 257}, 0)),
       "q: got head dimension 257, want 1..256"},
      {"batch of k", Put("k", CountBF16({2, 5, 1, 8}, 0)),
       "k: got shape [2, 5, 1, 8], want [1, 5, 1, 8], as q, k and layout bshd say"},
      {"D of k", Put("k", CountBF16({1, 5, 1, 4}, 0)),
       "k: got shape [1, 5, 1, 4], want [1, 5, 1, 8], as q, k and layout bshd say"},
      {"v unlike k", Put("v", CountBF16({1, 5, 2, 8}, 0)),
       "v: got shape [1, 5, 2, 8], want [1, 5, 1, 8], as q, k and layout bshd say"},
      {"heads that do not divide",
       [](TestFile& file) {
         for (const char* name : {"k", "v", "k_rope", "dk", "dv"}) {
           file.tensors[name] = CountBF16({1, 5, 3, 8}, 0);
         }
       },
       "k: got 3 heads, want a number that divides the 2 heads of q"},
      {"o transposed", Put("o", CountBF16({1, 2, 4, 8}, 0)),
       "o: got shape [1, 2, 4, 8], want [1, 4, 2, 8], as q, k and layout bshd say"},
      {"o flat", Put("o", CountBF16({64}, 0)),
       "o: got shape [64], want 4 axes, as layout bshd says"},
      {"lse transposed", Put("lse", CountF32({1, 4, 2}, 0)),
       "lse: got shape [1, 4, 2], want [1, 2, 4], as q and layout bshd say"},
      {"delta transposed", Put("delta", CountF32({1, 4, 2}, 0)),
       "delta: got shape [1, 4, 2], want [1, 2, 4], as q and layout bshd say"},
      {"lse of four", Put("lse", CountF32({1, 2, 4, 1}, 0)),
       "lse: got shape [1, 2, 4, 1], want [1, 2, 4], as q and layout bshd say"},
      {"q_rope", Put("q_rope", CountBF16({1, 5, 2, 8}, 0)),
       "q_rope: got shape [1, 5, 2, 8], want [1, 4, 2, 8], as q, k and layout bshd say"},
      {"k_rope", Put("k_rope", CountBF16({1, 4, 1, 8}, 0)),
       "k_rope: got shape [1, 4, 1, 8], want [1, 5, 1, 8], as q, k and layout bshd say"},
      {"do", Put("do", CountBF16({1, 4, 1, 8}, 0)), "do: got shape [1, 4, 1, 8], want ..."},
      {"dq", Put("dq", CountBF16({1, 4, 1, 8}, 0)), "dq: got shape [1, 4, 1, 8], want ..."},
      {"dk", Put("dk", CountBF16({1, 5, 2, 8}, 0)), "dk: got shape [1, 5, 2, 8], want ..."},
      {"dv", Put("dv", CountBF16({1, 5, 2, 8}, 0)), "dv: got shape [1, 5, 2, 8], want ..."},
      {"too few ids", Put("document_ids", I32({1, 4}, {0, 1, 1, 2})),
       "document_ids: got shape [1, 4], want [1, 5]"},
      {"flat ids", Put("document_ids", I32({5}, {0, 1, 1, 2, 2})),
       "document_ids: got shape [5], want [1, 5]"},
      {"too many positions", Put("position_ids", I32({1, 6}, {0, 1, 2, 3, 4, 5})),
       "position_ids: got shape [1, 6], want [1, 5]"},
      {"ids of queries", Put("q_document_ids", I32({1, 5}, {0, 1, 1, 2, 2})),
       "q_document_ids: got shape [1, 5], want [1, 4]"},
      {"positions of queries", Put("q_position_ids", I32({4, 1}, {0, 1, 2, 3})),
       "q_position_ids: got shape [4, 1], want [1, 4]"},
      {"cos too narrow", Put("cos", CountF32({5, 2}, 0)),
       "cos: got shape [5, 2], want [P, 4], 4 being half of rotary_dim"},
      {"cos flat", Put("cos", CountF32({20}, 0)),
       "cos: got shape [20], want [P, 4], 4 being half of rotary_dim"},
      {"sin too wide", Put("sin", CountF32({5, 8}, 0)),
       "sin: got shape [5, 8], want [P, 4], 4 being half of rotary_dim"},
      {"sin longer than cos", Put("sin", CountF32({6, 4}, 0)),
       "sin: got shape [6, 4], want [5, 4], as cos has"},
      {"inv_freq", Put("inv_freq", CountF32({8}, 0)),
       "inv_freq: got shape [8], want [4], 4 being half of rotary_dim"},
      {"inv_freq of two axes", Put("inv_freq", CountF32({1, 4}, 0)),
       "inv_freq: got shape [1, 4], want [4], 4 being half of rotary_dim"},
      {"inv_freq of none", Put("inv_freq", CountF32({}, 0)),
       "inv_freq: got shape [], want [4], 4 being half of rotary_dim"},
  });
}

TEST(HostileCapture, EmptyTensors) {
  for (const auto& [name, tensor] : FullCapture().tensors) {
    SCOPED_TRACE(name);
    TestFile file = FullCapture();
    TestTensor& empty = file.tensors[name];
    empty.shape[0] = 0;
    empty.bytes.clear();
    EXPECT_EQ(RefusalOf(file),
              fmt::format("{}: got shape {}, want every size >= 1", name, empty.shape));
  }
}

TEST(HostileCapture, NumbersOutOfRange) {
  const int64_t past = int64_t{1} << 31;
  ExpectRefusals({
      {"a negative id", Put("document_ids", I32({1, 5}, {0, 1, -1, 2, 2})),
       "document_ids: got -1 at [0, 2], want numbers >= 0"},
      {"the least id", Put("document_ids", I64({1, 5}, {0, 1, 1, 2, INT64_MIN})),
       "document_ids: got -9223372036854775808 at [0, 4], want numbers >= 0"},
      {"a negative id of a query", Put("q_document_ids", I64({1, 4}, {-7, 1, 1, 2})),
       "q_document_ids: got -7 at [0, 0], want numbers >= 0"},
      {"a negative position", Put("position_ids", I32({1, 5}, {0, -1, 2, 3, 4})),
       "position_ids: got -1 at [0, 1], want 0..2147483647"},
      {"a position past int32", Put("position_ids", I64({1, 5}, {0, 1, 2, 3, past})),
       "position_ids: got 2147483648 at [0, 4], want 0..2147483647"},
      {"a query's position past int32", Put("q_position_ids", I64({1, 4}, {past, 1, 2, 3})),
       "q_position_ids: got 2147483648 at [0, 0], want 0..2147483647"},
      {"a position past the tables", Put("position_ids", I32({1, 5}, {0, 1, 2, 3, 5})),
       "cos: got 5 rows, want more than the largest position, 5"},
      {"a query's position past the tables", Put("q_position_ids", I32({1, 4}, {0, 1, 2, 9})),
       "cos: got 5 rows, want more than the largest position, 9"},
  });
  // Ids that int32 cannot hold are ids all the same.
  TestFile file = FullCapture();
  file.tensors["document_ids"] = I64({1, 5}, {0, 1, 1, past, INT64_MAX});
  EXPECT_EQ(RefusalOf(file), "");
  // Positions are checked where nothing uses them, too.
  file = SmallProblem();
  file.tensors["position_ids"] = I32({1, 4}, {0, 1, 2, -3});
  EXPECT_EQ(RefusalOf(file), "position_ids: got -3 at [0, 3], want 0..2147483647");
  file.tensors["position_ids"] = I64({1, 4}, {0, 1, past, 3});
  EXPECT_EQ(RefusalOf(file), "position_ids: got 2147483648 at [0, 2], want 0..2147483647");
}

TEST(HostileCapture, CuSeqlens) {
  const auto thd = [](const TestTensor& cu_seqlens) {
    TestFile file;
    file.tensors["q"] = CountBF16({4, 1, 8}, 0);
    file.tensors["k"] = CountBF16({4, 1, 8}, 0);
    file.tensors["v"] = CountBF16({4, 1, 8}, 0);
    file.tensors["cu_seqlens"] = cu_seqlens;
    file.metadata = R"({"layout": "thd", "mask": {"rule": "document"}})";
    return file;
  };
  EXPECT_EQ(RefusalOf(thd(I32({3}, {0, 1, 4}))), "");
  EXPECT_NE(RefusalOf(thd(I32({3}, {1, 2, 4}))), "");
  EXPECT_NE(RefusalOf(thd(I32({3}, {0, 1, 3}))), "");
  EXPECT_NE(RefusalOf(thd(I32({3}, {0, 1, 5}))), "");
  EXPECT_NE(RefusalOf(thd(I32({4}, {0, 3, 2, 4}))), "");
  EXPECT_NE(RefusalOf(thd(I32({4}, {0, -1, 2, 4}))), "");
  EXPECT_NE(RefusalOf(thd(I32({3}, {0, INT32_MAX, 4}))), "");
  EXPECT_NE(RefusalOf(thd(I32({1}, {0}))), "");
  EXPECT_NE(RefusalOf(thd(I32({1}, {4}))), "");
  EXPECT_EQ(RefusalOf(thd(I64({3}, {0, 1, 4}))), "cu_seqlens: got I64, want I32");
  EXPECT_EQ(RefusalOf(thd(I32({1, 3}, {0, 1, 4}))), "cu_seqlens: got shape [1, 3], want [n + 1]");
  EXPECT_EQ(RefusalOf(thd(I32({}, {4}))), "cu_seqlens: got shape [], want [n + 1]");

  TestFile file = thd(I32({3}, {0, 1, 4}));
  file.tensors.erase("cu_seqlens");
  EXPECT_EQ(RefusalOf(file), "cu_seqlens: got no tensor, want one, as layout thd needs it");
  file.tensors["document_ids"] = I32({4}, {0, 1, 1, 1});
  EXPECT_EQ(RefusalOf(file), "cu_seqlens: got no tensor, want one, as layout thd needs it");
  file = thd(I32({3}, {0, 1, 4}));
  file.tensors["q"] = CountBF16({1, 4, 1, 8}, 0);
  EXPECT_EQ(RefusalOf(file), "q: got shape [1, 4, 1, 8], want 3 axes, as layout thd says");
  file = thd(I32({3}, {0, 1, 4}));
  file.tensors["position_ids"] = I32({1, 4}, {0, 1, 2, 3});
  EXPECT_EQ(RefusalOf(file), "position_ids: got shape [1, 4], want [4]");
  file = thd(I32({3}, {0, 1, 4}));
  file.tensors["lse"] = CountF32({1, 1, 4}, 0);
  EXPECT_EQ(RefusalOf(file), "lse: got shape [1, 1, 4], want [1, 4], as q and layout thd say");

  // Outside thd: one of the two, and one sequence.
  file = SmallProblem(1, 4, 4);
  file.tensors["cu_seqlens"] = I32({3}, {0, 1, 4});
  file.tensors["document_ids"] = I32({1, 4}, {0, 1, 1, 1});
  EXPECT_EQ(RefusalOf(file),
            "document_ids: got a tensor besides cu_seqlens, want only one of the two");
  file = SmallProblem(2, 4, 4);
  file.tensors["cu_seqlens"] = I32({3}, {0, 1, 4});
  EXPECT_EQ(RefusalOf(file), "cu_seqlens: got a batch of 2, want document_ids, or a batch of 1");
}

}  // namespace
}  // namespace bitanchor::test
