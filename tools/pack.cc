// bitanchor pack: documents into training windows, and what that makes of attention.
#include <fmt/format.h>

#include <set>

#include "lib/file/packed_file.h"
#include "lib/file/printable.h"
#include "lib/file/write_file.h"
#include "lib/tensor/error.h"
#include "tools/commands.h"
#include "tools/mask_options.h"
#include "tools/pack_options.h"
#include "tools/pack_report.h"

namespace bitanchor::tools {
namespace {

// The paper's reference code does otherwise in seven places; a user of it meets them here.
constexpr char kFooter[] =
    "Where AnchorContext, the paper's code (at 3af89f2), does otherwise:\n"
    "  1. without gradient checkpointing it drops mask and positions, so that evaluation is plain\n"
    "     causal. Here the file's metadata says the mask, and every reader applies it.\n"
    "  2. its interleaving copies the window's beginning into every chunk, and puts all first\n"
    "     chunks before all second ones. Here each token appears once, chunks in any order.\n"
    "  3. raw text with flex gives windows one token too long, and a filter then drops them all.\n"
    "     Here S counts the anchor, and every window has S tokens.\n"
    "  4. a document that fills a window loses its boundaries. Here it keeps them.\n"
    "  5. a document cut by a window's end loses a token under flash, and what fits of it may be\n"
    "     a lone anchor. Here the rest goes on in the next window, and no part is without a token.\n"
    "  6. documents of 2 tokens or fewer vanish. Here --min-length drops them, counted.\n"
    "  7. with EOS as anchor, documents that contain EOS stop it. Here an anchor is known by its\n"
    "     place, and inside a document its token is any other.\n";

// FlexAttention reads flex's masks; flash-attn has its cu_seqlens.
std::optional<FlexBlockMask> BlocksOf(const PackCommand& command, const Packing& packing,
                                      const PackedTensors& tensors) {
  if (command.no_block_mask || packing.options.engine == PackingEngine::kFlash) return std::nullopt;
  return MakeFlexBlockMask(MaskOf(packing, tensors), command.block_q, command.block_k);
}

void WriteOut(const PackCommand& command, const PackInput& input, const Packing& packing) {
  if (command.out.empty() && command.py.empty()) return;
  const PackedTensors tensors = TensorsOf(packing);
  if (!command.out.empty()) {
    std::vector<int64_t> token_ids;
    if (input.list.has_tokens) {
      token_ids =
          TokenIds(packing, tensors, input.list.tokens,
                   {command.anchor_token.value_or(0), command.pad_token, input.TagOfEach()});
    }
    WritePacked(command.out, packing, tensors, token_ids, BlocksOf(command, packing, tensors));
  }
  if (command.py == "-") fmt::print("{}", FlexMaskMod(MaskOf(packing, tensors)));
  if (command.py != "-" && !command.py.empty()) {
    WriteFile(command.py, FlexMaskMod(MaskOf(packing, tensors)));
  }
}

// The other ways to pack the same documents, plain ones.
std::vector<PackingOptions> Others(const PackingOptions& chosen) {
  std::vector<PackingOptions> others;
  for (const auto& [engine, anchor] :
       {std::pair{PackingEngine::kFlex, true}, std::pair{PackingEngine::kFlash, true},
        std::pair{PackingEngine::kFlex, false}}) {
    PackingOptions other = chosen;
    other.engine = engine;
    other.anchor = anchor;
    other.interleave = other.reset_positions = false;
    const bool same = anchor == chosen.anchor && (!anchor || engine == chosen.engine);
    if (!same || chosen.interleave) others.push_back(other);
  }
  return others;
}

Packing Packed(const PackCommand& command, std::span<const SourceDocument> documents,
               const PackingOptions& options) {
  Packing packing = Pack(documents, options);
  CheckBlockCount(packing.S, packing.S, command.block_q, command.block_k);
  return packing;
}

// Packs as was asked and, to compare, in the other ways; one in which these documents cannot be
// packed (no window of it is full, say) is left out, which a note says.
PackResult PackAll(const PackCommand& command, const PackInput& input) {
  const PackingOptions chosen = command.Packing();
  PackResult result;
  result.cases.push_back({Packed(command, input.documents, chosen), {}});
  if (!command.compare) return result;
  for (const PackingOptions& other : Others(chosen)) {
    std::vector<SourceDocument> documents = input.documents;
    if (!other.anchor) {
      for (SourceDocument& document : documents) document.tag_length = 0;
    }
    try {
      result.cases.push_back({Packed(command, documents, other), {}});
    } catch (const InputError& error) {
      result.left_out.push_back(fmt::format("{} is left out: {}", NameOf(other), error.what()));
    }
  }
  return result;
}

void CheckCommand(const PackCommand& command) {
  if (command.json == "-" && command.py == "-") {
    throw InputError("--py", "- for --json as well", "one of them on stdout");
  }
  std::set<std::string> paths;
  for (const std::string& path : {command.out, command.json, command.py}) {
    if (path.empty() || path == "-") continue;
    if (!paths.insert(path).second) {
      throw InputError("output", PrintablePath(path) + " twice", "a file each");
    }
    RefuseUnwritable(path);
  }
  if (command.out == "-") throw InputError("--output", "-", "a file");
}

int PackOne(const PackCommand& command) {
  CheckCommand(command);
  const PackInput input = ReadPackInput(command);
  PackResult result = PackAll(command, input);
  WriteOut(command, input, result.cases.front().packing);
  for (PackedCase& one : result.cases) {
    one.summary = Summarise(one.packing, command.block_q, command.block_k);
  }
  if (command.json == "-") {
    fmt::print("{}", PackJson(command, input, result));
  } else if (!command.json.empty()) {
    WriteFile(command.json, PackJson(command, input, result));
  }
  if (!command.quiet && command.json != "-" && command.py != "-") {
    fmt::print("{}", PackText(command, input, result));
  }
  return kPassed;
}

}  // namespace

void AddPack(CLI::App& app, Action& run) {
  auto options = std::make_shared<PackCommand>();
  CLI::App* command = app.add_subcommand(
      "pack",
      "Pack documents into training windows by the rules of AnchorAttention's engines.\n\n"
      "  bitanchor pack --documents 700,1200,300,2500 --sequence-length 2048 --compare\n"
      "  bitanchor pack documents.jsonl --anchor-token 1 -S 8192 --engine flash -o "
      "packed.safetensors\n");
  options->AddTo(*command);
  command->footer(kFooter);
  command->callback([options, &run] { run = [options] { return PackOne(*options); }; });
}

}  // namespace bitanchor::tools
