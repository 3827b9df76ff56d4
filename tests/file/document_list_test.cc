// Files of documents: what each form says, and what is refused.
#include "lib/file/document_list.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/file/test_files.h"

namespace bitanchor::test {
namespace {

using Numbers = std::vector<int64_t>;

DocumentList Lines(const std::string& text) { return ParseDocumentList(AsBytes(text), "x.jsonl"); }

DocumentList Tensors(const TestFile& file) {
  const std::string bytes = file.Build();
  return ParseDocumentList(AsBytes(bytes), "x.safetensors");
}

TEST(DocumentList, JsonLines) {
  const DocumentList lengths = Lines("5\n{\"length\": 0}\n{\"length\": 7}");
  EXPECT_EQ(lengths.lengths, (Numbers{5, 0, 7}));
  EXPECT_FALSE(lengths.has_tokens);
  EXPECT_TRUE(lengths.domains.empty());
  const DocumentList tokens =
      Lines("[1, 2]\r\n{\"tokens\": [3], \"domain\": \"web\"}\n{\"input_ids\": []}\n");
  EXPECT_EQ(tokens.lengths, (Numbers{2, 1, 0}));
  EXPECT_EQ(tokens.tokens, (Numbers{1, 2, 3}));
  EXPECT_TRUE(tokens.has_tokens);
  EXPECT_EQ(tokens.domains, (std::vector<std::string>{"", "web", ""}));
}

TEST(DocumentList, Safetensors) {
  TestFile lengths;
  lengths.tensors["lengths"] = I32({3}, {5, 0, 7});
  EXPECT_EQ(Tensors(lengths).lengths, (Numbers{5, 0, 7}));
  TestFile starts;
  starts.tensors["cu_seqlens"] = I32({4}, {0, 5, 5, 12});
  EXPECT_EQ(Tensors(starts).lengths, (Numbers{5, 0, 7}));
  EXPECT_FALSE(Tensors(starts).has_tokens);
  for (const char* name : {"tokens", "input_ids"}) {
    TestFile tokens;
    tokens.tensors["cu_seqlens"] = I64({3}, {0, 2, 3});
    tokens.tensors[name] = {"U16", {3}, Pack<uint16_t>({1, 2, 65535})};
    EXPECT_EQ(Tensors(tokens).tokens, (Numbers{1, 2, 65535})) << name;
    EXPECT_TRUE(Tensors(tokens).has_tokens);
  }
}

TEST(DocumentList, FindsTheBOS) {
  const DocumentList tokens = Lines("[1, 2]\n[2, 1]\n[1, 1]\n[]\n");
  const std::vector<SourceDocument> documents = SourceDocuments(tokens, 1);
  ASSERT_EQ(documents.size(), 4u);
  EXPECT_EQ(documents[0].bos, 1);
  EXPECT_EQ(documents[1].bos, 0);
  EXPECT_EQ(documents[2].bos, 1);  // one of the two
  EXPECT_EQ(documents[3].bos, 0);
  EXPECT_EQ(documents[2].begin, 4);
  EXPECT_EQ(SourceDocuments(Lines("3\n0\n"), 1)[0].bos, 1);  // lengths: each begins with it
  EXPECT_EQ(SourceDocuments(Lines("3\n0\n"), 1)[1].bos, 0);
  EXPECT_EQ(SourceDocuments(Lines("3\n"), -1)[0].bos, 0);
}

TEST(DocumentList, HostileLines) {
  const auto refusal = [](const std::string& text) { return Refusal([&] { Lines(text); }); };
  for (const auto& [text, want] : std::vector<std::pair<std::string, std::string>>{
           {"5\n\n6", "x.jsonl line 2: document: got "},
           {"5\n-6", "x.jsonl line 2: length: got -6, want >= 0"},
           {"5.0", "x.jsonl line 1: document: got 5.0, want a length, an array"},
           {"null", "x.jsonl line 1: document: got null"},
           {"\"5\"", "x.jsonl line 1: document: got \"5\""},
           {"[1, -2]", "x.jsonl line 1: tokens: got -2 at [1], want token ids >= 0"},
           {"[1, 2.5]", "x.jsonl line 1: document.tokens: got an array"},
           {"[[1]]", "x.jsonl line 1: document.tokens: got an array"},
           {"5\n[1]", "x.jsonl line 2: document: got tokens, want a length, as before"},
           {"[1]\n5", "x.jsonl line 2: document: got a length, want tokens, as the lines before"},
           {"{}", "x.jsonl line 1: document: got none of them"},
           {"{\"length\": 1, \"tokens\": [1]}", "x.jsonl line 1: document: got two of them"},
           {"{\"input_ids\": [1], \"tokens\": [1]}", "x.jsonl line 1: document: got two of them"},
           {"{\"length\": 1, \"length\": 2}", "x.jsonl line 1: length: got the same key twice"},
           {"{\"text\": \"x\"}", "x.jsonl line 1: document.text: got a key of this name"},
           {"{\"length\": 1, \"domain\": 5}", "x.jsonl line 1: document.domain: got 5"},
           {"5 6", "x.jsonl line 1: document: got at byte"},
           {"[1", "x.jsonl line 1: document: got at byte"},
           {"9223372036854775808", "x.jsonl line 1: document.length: got 9223372036854775808"},
           {"2147483647\n1", "x.jsonl: got more than 2^31 - 1 tokens by [1]"},
           {std::string("5\0", 2), "x.jsonl line 1: document: got a NUL byte"},
           {"\xef\xbb\xbf"
            "5",
            "x.jsonl line 1: document: got a byte-order mark"},
           {std::string(100000, '['), "x.jsonl line 1: document: got nesting deeper"},
       }) {
    const std::string got = refusal(text);
    EXPECT_EQ(got.substr(0, want.size()), want) << got;
  }
}

TEST(DocumentList, HostileTensors) {
  const auto refusal = [](const std::map<std::string, TestTensor>& tensors) {
    TestFile file;
    file.tensors = tensors;
    return Refusal([&] { Tensors(file); });
  };
  const TestTensor lengths = I32({2}, {1, 2}), starts = I32({3}, {0, 1, 3}),
                   tokens = I32({3}, {7, 8, 9});
  EXPECT_EQ(refusal({{"lengths", lengths}, {"tokens", tokens}}), "");
  for (const auto& [tensors, want] :
       std::vector<std::pair<std::map<std::string, TestTensor>, std::string>>{
           {{}, "x.safetensors: got neither lengths nor cu_seqlens"},
           {{{"tokens", tokens}}, "x.safetensors: got neither lengths nor cu_seqlens"},
           {{{"lengths", lengths}, {"cu_seqlens", starts}}, "x.safetensors: got lengths and cu"},
           {{{"lengths", lengths}, {"q", tokens}}, "q: got a tensor of this name"},
           {{{"lengths", I32({1, 2}, {1, 2})}}, "lengths: got 2 axes, want one"},
           {{{"lengths", CountF32({2}, 1)}}, "lengths: got F32, want integers"},
           {{{"lengths", I32({2}, {1, -2})}}, "x.safetensors: got -2 at [1], want lengths >= 0"},
           {{{"lengths", {"U64", {1}, Pack<uint64_t>({~uint64_t{0}})}}},
            "lengths: got 18446744073709551615 at [0]"},
           {{{"cu_seqlens", I32({0}, {})}}, "cu_seqlens: got no entry"},
           {{{"cu_seqlens", I32({2}, {1, 3})}}, "cu_seqlens: got 1 first, want 0 first"},
           {{{"cu_seqlens", I32({3}, {0, 3, 2})}}, "cu_seqlens: got 2 after 3 at [2]"},
           {{{"cu_seqlens", I64({2}, {0, INT64_MAX})}}, "cu_seqlens: got 9223372036854775807"},
           {{{"cu_seqlens", starts}, {"tokens", I32({2}, {7, 8})}},
            "x.safetensors: got lengths of 3 tokens in all, want 2, as there are tokens"},
           {{{"cu_seqlens", starts}, {"tokens", I32({3}, {7, -8, 9})}}, "tokens: got -8 at [1]"},
           {{{"cu_seqlens", starts}, {"tokens", tokens}, {"input_ids", tokens}},
            "x.safetensors: got tokens and input_ids"},
       }) {
    const std::string got = refusal(tensors);
    EXPECT_EQ(got.substr(0, want.size()), want) << got;
  }
}

TEST(DocumentList, RefusesOtherFiles) {
  EXPECT_EQ(Refusal([] { ParseDocumentList(AsBytes("5"), "x.txt"); }),
            "x.txt: got another ending, want .npy, .safetensors or .jsonl");
  const TempDir folder;
  EXPECT_NE(Refusal([&] { ReadDocumentList(folder / "none.jsonl"); }), "");
  Spill(folder / "empty.jsonl", "");
  EXPECT_NE(Refusal([&] { ReadDocumentList(folder / "empty.jsonl"); }), "");
  EXPECT_EQ(Refusal([] { ParseDocumentList(AsBytes("5"), "x.npy"); }),
            "x.npy: npy: got another beginning, want numpy's magic \\x93NUMPY and a version");
}

}  // namespace
}  // namespace bitanchor::test
