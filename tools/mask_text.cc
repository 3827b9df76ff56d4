#include "tools/mask_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

namespace bitanchor::tools {
namespace {

constexpr int64_t kMostPairs = 64;    // a side, one or two columns each
constexpr int64_t kMostSquares = 32;  // a side, two columns each

// What begins in one cell: "2", "A,1", "5..8", or of more that do not follow each other the first,
// "7,..".
std::string Beginning(const Mask& mask, const std::vector<int64_t>& ids) {
  const auto name = [&](int64_t id) {
    const bool anchor = mask.spec.rule == MaskRule::kAnchor && id == 0;
    return anchor ? "A" : fmt::format("{}", id);
  };
  if (ids.empty()) return "";
  if (ids.size() == 1) return name(ids[0]);
  if (ids.size() == 2) return name(ids[0]) + "," + name(ids[1]);
  const auto jump = std::adjacent_find(ids.begin(), ids.end(),
                                       [](int64_t id, int64_t next) { return next - 1 != id; });
  return name(ids.front()) + (jump == ids.end() ? ".." + name(ids.back()) : ",..");
}

// The documents that begin in each cell of an axis.
std::vector<std::string> Beginnings(const Mask& mask, std::span<const int64_t> ids, int64_t cells,
                                    int64_t tokens_a_cell) {
  std::vector<std::vector<int64_t>> of_cells(cells);
  for (const DocumentRun& run : DocumentRuns(ids)) {
    of_cells[run.begin / tokens_a_cell].push_back(run.id);
  }
  std::vector<std::string> names;
  for (const std::vector<int64_t>& of_cell : of_cells) names.push_back(Beginning(mask, of_cell));
  return names;
}

class Drawing {
 public:
  Drawing(const Mask& mask, int64_t b, const BlockMap& map, int64_t block_q, int64_t block_k,
          bool ascii)
      : mask_(mask), b_(b), block_q_(block_q), block_k_(block_k), ascii_(ascii) {
    pairs_ = std::max(mask.Sq, mask.Skv) <= kMostPairs;
    if (pairs_) {
      map_ = MapBlocks(mask, b, 1, 1);
      wide_ = std::max(mask.Sq, mask.Skv) <= kMostPairs / 2;
      tokens_q_ = tokens_k_ = 1;
    } else {
      by_ = (std::max(map.query_blocks, map.key_blocks) - 1) / kMostSquares + 1;
      map_ = Coarsened(map, by_);
      // Beyond its axis a block has no tokens, and then it is the only one.
      tokens_q_ = std::min(block_q, mask.Sq) * by_;
      tokens_k_ = std::min(block_k, mask.Skv) * by_;
    }
  }

  std::string Text() const {
    const std::vector<std::string> rows =
        Beginnings(mask_, QueryIds(mask_, b_), map_.query_blocks, tokens_q_);
    size_t label = 0;
    for (const std::string& row : rows) label = std::max(label, row.size());
    const size_t token = fmt::format("{}", mask_.Sq - 1).size();
    const std::string margin(token + 1 + label + (label > 0), ' ');
    std::string text = Ruler(margin);
    for (int64_t q = 0; q < map_.query_blocks; ++q) {
      text += fmt::format("{:>{}} ", q * tokens_q_, token);
      if (label > 0) text += fmt::format("{:<{}} ", rows[q], label);
      for (int64_t k = 0; k < map_.key_blocks; ++k) text += Glyph(map_.At(q, k));
      text += "\n";
    }
    return text + Legend();
  }

 private:
  std::string Glyph(BlockKind kind) const {
    const std::string_view one = kind == BlockKind::kFull      ? (ascii_ ? "#" : "█")
                                 : kind == BlockKind::kPartial ? (ascii_ ? "+" : "▒")
                                                               : (ascii_ ? "." : "·");
    return std::string(one) + (wide_ ? std::string(one) : "");
  }

  // Above the columns in which documents begin: their names, as far as there is room, and ticks.
  std::string Ruler(const std::string& margin) const {
    const std::vector<std::string> columns =
        Beginnings(mask_, KeyIds(mask_, b_), map_.key_blocks, tokens_k_);
    std::string names, ticks;
    size_t ticks_columns = 0;
    for (size_t k = 0; k < columns.size(); ++k) {
      if (columns[k].empty()) continue;
      const size_t at = k * (wide_ ? 2 : 1);
      ticks += std::string(at - ticks_columns, ' ') + (ascii_ ? "|" : "╷");
      ticks_columns = at + 1;
      if (!names.empty() && names.size() + 1 > at) continue;
      names += std::string(at - names.size(), ' ') + columns[k];
    }
    if (ticks.empty()) return "";
    return margin + names + "\n" + margin + ticks + "\n";
  }

  std::string Legend() const {
    std::string text = fmt::format("\n{} ", Glyph(BlockKind::kFull));
    if (pairs_) {
      text += fmt::format("kept   {} masked   a cell is one pair", Glyph(BlockKind::kEmpty));
    } else {
      text += fmt::format("full   {} partial   {} empty   a cell is ", Glyph(BlockKind::kPartial),
                          Glyph(BlockKind::kEmpty));
      if (by_ > 1) text += fmt::format("{0} x {0} blocks, each ", by_);
      text += fmt::format("{} queries x {} keys", block_q_, block_k_);
    }
    if (mask_.spec.rule == MaskRule::kFull) return text + "\n";
    return text + (mask_.spec.rule == MaskRule::kAnchor
                       ? "\nA and numbers: where the anchor and documents begin\n"
                       : "\nnumbers: where documents begin\n");
  }

  const Mask& mask_;
  int64_t b_, block_q_, block_k_;
  bool ascii_, pairs_ = false, wide_ = true;
  int64_t by_ = 1;                       // blocks a side of a cell
  int64_t tokens_q_ = 1, tokens_k_ = 1;  // of a cell
  BlockMap map_;                         // of cells
};

}  // namespace

std::string DrawMask(const Mask& mask, int64_t b, const BlockMap& map, int64_t block_q,
                     int64_t block_k, bool ascii) {
  return Drawing(mask, b, map, block_q, block_k, ascii).Text();
}

}  // namespace bitanchor::tools
