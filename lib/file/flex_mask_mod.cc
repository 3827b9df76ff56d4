// FlexMaskMod: a mask as Python.
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "lib/file/flex_attention.h"
#include "lib/problem/block_map.h"

namespace bitanchor {
namespace {

constexpr size_t kColumns = 100, kIndent = 8;  // of a list

// "[1, 2, 3]" over as many lines as it takes.
std::string PythonList(const std::vector<int64_t>& numbers) {
  std::string list = "[";
  size_t column = kIndent + 1;
  for (size_t n = 0; n < numbers.size(); ++n) {
    const std::string number = fmt::format("{}{}", numbers[n], n + 1 < numbers.size() ? "," : "]");
    if (column + number.size() + 1 > kColumns) {
      list += "\n" + std::string(kIndent + 1, ' ');
      column = kIndent + 1;
    } else if (n > 0) {
      list += " ";
      ++column;
    }
    list += number;
    column += number.size();
  }
  return list;
}

// The ids of one sequence as its runs: ids and lengths.
std::string OneSequence(std::span<const int64_t> ids) {
  std::vector<int64_t> of_runs, lengths;
  for (const DocumentRun& run : DocumentRuns(ids)) {
    of_runs.push_back(run.id);
    lengths.push_back(run.end - run.begin);
  }
  return fmt::format("ids(\n{0}{1},\n{0}{2},\n    )", std::string(kIndent, ' '),
                     PythonList(of_runs), PythonList(lengths));
}

using IdsOf = std::function<std::span<const int64_t>(const Mask&, int64_t b)>;

bool SameInAllBatches(const Mask& mask, const IdsOf& ids_of) {
  const auto first = ids_of(mask, 0);
  for (int64_t b = 1; b < mask.B; ++b) {
    const auto other = ids_of(mask, b);
    if (!std::equal(first.begin(), first.end(), other.begin(), other.end())) return false;
  }
  return true;
}

// A tensor [S], or [B, S] where batches differ.
std::string Sequences(const Mask& mask, const IdsOf& ids_of, bool same) {
  if (same) return OneSequence(ids_of(mask, 0));
  std::string stack = "torch.stack((";
  for (int64_t b = 0; b < mask.B; ++b) stack += OneSequence(ids_of(mask, b)) + ", ";
  return stack + "))";
}

struct DocumentTerms {
  std::string tensors, term;  // "" for rule full
  bool by_batch = false;
};

DocumentTerms Documents(const Mask& mask) {
  if (mask.spec.rule == MaskRule::kFull) return {};
  const bool same = SameInAllBatches(mask, QueryIds) && SameInAllBatches(mask, KeyIds);
  const bool self = mask.q_ids == mask.k_ids;
  DocumentTerms terms;
  terms.by_batch = !same;
  terms.tensors =
      "    def ids(documents, lengths):\n"
      "        return torch.repeat_interleave(torch.tensor(documents), torch.tensor(lengths))\n\n";
  terms.tensors += fmt::format("    k_documents = {}.to(device)\n", Sequences(mask, KeyIds, same));
  terms.tensors +=
      self ? "    q_documents = k_documents\n"
           : fmt::format("    q_documents = {}.to(device)\n", Sequences(mask, QueryIds, same));
  const std::string b = same ? "" : "b, ";
  const std::string key = fmt::format("k_documents[{}kv_idx]", b);
  terms.term = fmt::format("({} == q_documents[{}q_idx])", key, b);
  if (mask.spec.rule == MaskRule::kAnchor)
    terms.term = fmt::format("({} | ({} == 0))", terms.term, key);
  return terms;
}

}  // namespace

std::string FlexMaskMod(const Mask& mask) {
  const int64_t off = mask.Offset();
  const std::string at =
      off == 0 ? "q_idx" : fmt::format("q_idx {} {}", off < 0 ? "-" : "+", std::abs(off));
  const DocumentTerms documents = Documents(mask);
  std::vector<std::string> terms;
  if (!documents.term.empty()) terms.push_back(documents.term);
  if (mask.spec.causal) terms.push_back(fmt::format("(kv_idx <= {})", at));
  // A window that no distance reaches might not fit the index type.
  if (mask.spec.window_keys && *mask.spec.window_keys < mask.Sq + mask.Skv) {
    terms.push_back(fmt::format("({} - kv_idx < {})", at, *mask.spec.window_keys));
  }
  if (terms.empty()) terms.push_back("b.new_ones((), dtype=torch.bool)");
  std::string all;
  for (const std::string& term : terms) all += (all.empty() ? "" : "\n            & ") + term;
  return fmt::format(
      "\"\"\"FlexAttention's mask_mod of a bitanchor mask: {}; B {}, Sq {}, Skv {}.\n\n"
      "block_mask = create_block_mask(make_mask_mod(\"cuda\"), {}, None, {}, {}, "
      "device=\"cuda\")\n\"\"\"\n\n"
      "import torch\n\n\n"
      "def make_mask_mod(device=\"cpu\"):\n{}"
      "    def mask_mod(b, h, q_idx, kv_idx):\n"
      "        return (\n            {}\n        )\n\n"
      "    return mask_mod\n",
      InWords(mask), mask.B, mask.Sq, mask.Skv,
      documents.by_batch ? fmt::format("{}", mask.B) : "None", mask.Sq, mask.Skv,
      documents.tensors.empty() ? "" : documents.tensors + "\n", all);
}

}  // namespace bitanchor
