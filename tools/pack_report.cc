#include "tools/pack_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <numeric>

#include "lib/file/printable.h"

namespace bitanchor::tools {
namespace {

using Json = nlohmann::ordered_json;

std::string Documents(int64_t n) { return fmt::format("{} document{}", n, n == 1 ? "" : "s"); }

std::string Tokens(int64_t n) { return fmt::format("{} token{}", n, n == 1 ? "" : "s"); }

int64_t TokensOfInput(const PackInput& input) {
  return std::accumulate(input.list.lengths.begin(), input.list.lengths.end(), int64_t{0});
}

double Share(int64_t part, int64_t whole) {
  return static_cast<double>(part) / static_cast<double>(whole);
}

std::string Times(int64_t whole, int64_t work) {
  return fmt::format("{:.3g}x", Share(whole, work));
}

// What happened to documents that did not simply go in.
std::string Losses(const Packing& packing) {
  std::string text;
  const auto add = [&](const std::string& what) { text += (text.empty() ? "" : "; ") + what; };
  if (packing.cut_documents > 0) {
    add(Documents(packing.cut_documents) + " cut across windows, each part a segment of its own");
  }
  if (packing.stripped_bos > 0) add(fmt::format("{} BOS stripped", packing.stripped_bos));
  if (packing.short_documents > 0) {
    add(fmt::format("dropped {} of fewer than {} ({})", Documents(packing.short_documents),
                    Tokens(packing.options.min_length), Tokens(packing.short_tokens)));
  }
  if (packing.last_tokens > 0) {
    add(fmt::format("dropped a last window that was not full ({})", Tokens(packing.last_tokens)));
  }
  return text.empty() ? "nothing cut, nothing dropped" : text;
}

// Where what was packed could be taken for something else.
std::vector<std::string> Notes(const PackInput& input, const PackResult& result) {
  const Packing& packing = result.cases.front().packing;
  std::vector<std::string> notes = result.left_out;
  if (result.cases.front().summary.padding > 0) {
    notes.push_back(fmt::format(
        "padding is one more document of its window: it sees itself{}, and its pairs are counted",
        packing.SharedAnchor() ? " and the anchor" : ""));
  }
  if (packing.AnchorCopies() && !packing.options.reset_positions) {
    notes.push_back(
        "each copy of the anchor takes a position, so document n of a window stands n - 1 further "
        "from its anchor than flex has it; with --reset-positions the engines agree");
  }
  if (packing.SharedAnchor() || packing.options.interleave) {
    notes.push_back(std::string("no cu_seqlens: they cannot express ") +
                    (packing.options.interleave ? "documents that lie in pieces"
                                                : "an anchor that all documents see"));
  }
  if (packing.options.anchor && input.inner_anchors > 0) {
    notes.push_back(fmt::format(
        "inside documents the anchor's token id is an ordinary token; it stands there {} time{}",
        input.inner_anchors, input.inner_anchors == 1 ? "" : "s"));
  }
  return notes;
}

Json CaseJson(const PackedCase& packed, const PackCommand& command) {
  const auto& [packing, sum] = packed;
  const PackingOptions& options = packing.options;
  return {
      {"engine", Name(options.engine)},
      {"attention", options.anchor ? "anchor" : "intra-document"},
      {"reset_positions", options.reset_positions},
      {"interleave", options.interleave},
      {"sequence_length", packing.S},
      {"windows", sum.windows},
      {"tokens", sum.tokens},
      {"anchors", sum.anchors},
      {"tag_tokens", sum.tags},
      {"padding", sum.padding},
      {"documents", packing.documents},
      {"cut_documents", packing.cut_documents},
      {"segments", sum.segments},
      {"chunks", sum.chunks},
      {"stripped_bos", packing.stripped_bos},
      {"dropped",
       {{"short_documents", packing.short_documents},
        {"short_tokens", packing.short_tokens},
        {"last_window_tokens", packing.last_tokens}}},
      {"pairs", sum.pairs},
      {"kept_pairs", sum.work.kept_pairs},
      {"density", Share(sum.work.kept_pairs, sum.pairs)},
      {"block_size", {command.block_q, command.block_k}},
      {"blocks",
       {{"full", sum.blocks.full}, {"partial", sum.blocks.partial}, {"empty", sum.blocks.empty}}},
      {"block_density", Share(sum.blocks.Visited(), sum.blocks.All())},
      {"speed_up_over_full_causal",
       {{"by_blocks", Share(sum.full_causal.visited_blocks, sum.work.visited_blocks)},
        {"by_pairs", Share(sum.full_causal.kept_pairs, sum.work.kept_pairs)}}}};
}

std::string Row(const PackedCase& packed, bool chosen) {
  const auto& [packing, sum] = packed;
  const auto percent = [](int64_t part, int64_t whole) {
    return Percent(static_cast<double>(part), static_cast<double>(whole));
  };
  return fmt::format("{:<28}{:>8}{:>10}{:>9}{:>10}{:>9}{:>16}{:>9}{:>9}{:>9}{:>9}\n",
                     NameOf(packing.options) + (chosen ? " *" : ""), sum.windows, sum.tokens,
                     sum.anchors, sum.segments, sum.padding, sum.work.kept_pairs,
                     percent(sum.work.kept_pairs, sum.pairs),
                     percent(sum.blocks.Visited(), sum.blocks.All()),
                     Times(sum.full_causal.visited_blocks, sum.work.visited_blocks),
                     Times(sum.full_causal.kept_pairs, sum.work.kept_pairs));
}

}  // namespace

std::string NameOf(const PackingOptions& options) {
  std::string name = options.anchor ? fmt::format("{}, anchor", Name(options.engine))
                                    : std::string("intra-document");
  if (options.interleave) name += ", interleaved";
  if (options.reset_positions) name += ", reset";
  return name;
}

std::string PackText(const PackCommand& command, const PackInput& input, const PackResult& result) {
  const std::vector<PackedCase>& cases = result.cases;
  const Packing& packing = cases.front().packing;
  std::string text =
      fmt::format("input: {}, {}{}\n", Documents(static_cast<int64_t>(input.list.lengths.size())),
                  Tokens(TokensOfInput(input)), input.list.has_tokens ? "" : " (lengths alone)");
  text += fmt::format("packed: {}; {} window{} of {}; {}\n", Documents(packing.documents),
                      packing.windows.size(), packing.windows.size() == 1 ? "" : "s", packing.S,
                      Losses(packing));
  text += fmt::format("\n{:<28}{:>46}{:>16}{:>18}{:>18}\n", "", "", "kept", "density of",
                      "expected speed-up");
  text += fmt::format("{:<28}{:>8}{:>10}{:>9}{:>10}{:>9}{:>16}{:>9}{:>9}{:>9}{:>9}\n", "packing",
                      "windows", "tokens", "anchors", "segments", "padding", "pairs", "pairs",
                      "blocks", "blocks", "pairs");
  for (const PackedCase& one : cases) text += Row(one, cases.size() > 1 && &one == &cases.front());
  text += fmt::format(
      "\n{}segments: documents, or the parts of one that lie in different windows\n"
      "speed-up: over causal attention of the same windows; by blocks of {} x {} visited, and by "
      "pairs, which none exceeds\n",
      cases.size() > 1 ? "*: what was asked for; " : "", command.block_q, command.block_k);
  for (const std::string& note : Notes(input, result)) text += "note: " + note + "\n";
  return text;
}

std::string PackJson(const PackCommand& command, const PackInput& input, const PackResult& result) {
  const std::vector<PackedCase>& cases = result.cases;
  Json packings = Json::array();
  for (const PackedCase& one : cases) packings.push_back(CaseJson(one, command));
  const Json json = {{"schema", 1},
                     {"input",
                      {{"documents", input.list.lengths.size()},
                       {"tokens", TokensOfInput(input)},
                       {"token_ids", input.list.has_tokens},
                       {"anchor_tokens_inside_documents", input.inner_anchors}}},
                     {"packings", packings},
                     {"notes", Notes(input, result)}};
  return json.dump(2) + "\n";
}

}  // namespace bitanchor::tools
