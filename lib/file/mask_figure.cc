// Colours are Okabe and Ito's, which colour-blind readers tell apart; full, partial and empty also
// differ in lightness, for print in grey.
#include "lib/file/mask_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <string_view>
#include <vector>

#include "lib/file/markup.h"
#include "lib/file/mask_svg.h"
#include "lib/file/printable.h"
#include "lib/file/svg_text.h"
#include "lib/problem/block_map.h"

namespace bitanchor {
namespace {

constexpr std::string_view kFull = "#0072b2", kPartial = "#f0b942", kEmpty = "#f2f2f2";
constexpr std::string_view kPaleFull = "#a9d3ec", kPalePartial = "#fbeac6";  // behind single pairs
constexpr int64_t kMostPairsSide = 64, kMostSquaresSide = 256;
constexpr size_t kMostLines = 24;  // of documents; more are ticks beside the map
// Lengths are in pixels, an em of the labels being 12.
constexpr double kMapSide = 560, kLeastSide = 36;
constexpr double kLeft = 96, kTop = 56, kLabels = 40, kRight = 64;
constexpr double kGap = 6.4;  // between labels

std::string_view Colour(BlockKind kind, bool pale) {
  if (kind == BlockKind::kEmpty) return kEmpty;
  if (kind == BlockKind::kFull) return pale ? kPaleFull : kFull;
  return pale ? kPalePartial : kPartial;
}

// One axis of the map: where token t lies.
struct Axis {
  int64_t tokens, block;
  double origin, side;
  double At(int64_t token) const {
    return origin + side * static_cast<double>(token) / static_cast<double>(tokens);
  }
  double End() const { return origin + side; }
  double Block(int64_t n) const { return At(std::min(n * block, tokens)); }
  double TokenSide() const { return side / static_cast<double>(tokens); }
};

// Same scale on both axes, unless one would become too thin to see.
Axis MakeAxis(int64_t tokens, int64_t other, int64_t block, double origin) {
  const double longest = static_cast<double>(std::max(tokens, other));
  const double side = kMapSide * static_cast<double>(tokens) / longest;
  return {tokens, block, origin, std::max(side, kLeastSide)};
}

class Figure {
 public:
  Figure(const Mask& mask, const FigureOptions& what)
      : mask_(mask),
        what_(what),
        map_(MapBlocks(mask, what.b, what.block_q, what.block_k)),
        counts_(CountBlocks(map_)),
        by_((std::max(map_.query_blocks, map_.key_blocks) - 1) / kMostSquaresSide + 1),
        pairs_(std::max(mask.Sq, mask.Skv) <= kMostPairsSide) {
    if (by_ > 1) map_ = Coarsened(map_, by_);
    // A block beyond the end of its axis is cut off there, so its size may be too: no overflow.
    q_ = MakeAxis(mask.Sq, mask.Skv, std::min(what.block_q, mask.Sq) * by_,
                  mask.spec.rule == MaskRule::kFull ? kTop : kTop + kLabels);
    k_ = MakeAxis(mask.Skv, mask.Sq, std::min(what.block_k, mask.Skv) * by_, kLeft);
  }

  std::string Svg() {
    const double width = std::max(k_.End() + kRight, kLeft + 420);
    const double height = q_.End() + 76;
    out_ = SvgBegin(width, height, Title(), Description());
    Text(kLeft, 24, MarkupEscaped(Title()), "font-size=\"15\" font-weight=\"bold\"");
    Text(kLeft, 42, Pairs(), fmt::format("fill=\"{}\"", kSvgQuiet));
    Blocks();
    if (pairs_) SinglePairs();
    BlockEdges();
    Documents();
    Frame();
    Legend(q_.End() + 44);
    return out_ + "</svg>\n";
  }

 private:
  std::string Title() const { return what_.title.empty() ? InWords(mask_) : what_.title; }

  std::string Pairs() const {
    const int64_t kept = CountVisible(mask_, what_.b);
    const double all = static_cast<double>(mask_.Sq) * static_cast<double>(mask_.Skv);
    return fmt::format("Sq {}, Skv {}; {} pairs kept, {}", mask_.Sq, mask_.Skv, kept,
                       Percent(static_cast<double>(kept), all));
  }

  std::string Description() const {
    return fmt::format(
        "Attention mask of {}; {}. Blocks of {} by {}: {} full, {} partial, {} empty. Queries run "
        "downwards, keys to the right.",
        InWords(mask_), Pairs(), what_.block_q, what_.block_k, counts_.full, counts_.partial,
        counts_.empty);
  }

  void Text(double x, double y, const std::string& text, std::string_view attributes) {
    out_ += SvgText(x, y, text, attributes);
  }

  void Rect(double x, double y, double width, double height, std::string_view attributes) {
    out_ += fmt::format("<rect x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" {}/>\n", Px(x), Px(y),
                        Px(width), Px(height), attributes);
  }

  // In units of squares, drawn larger; what a ragged last one lacks is cut off.
  void Blocks() {
    const auto squares = [](const Axis& axis) {
      return fmt::format("{:.10g}",
                         static_cast<double>(axis.tokens) / static_cast<double>(axis.block));
    };
    out_ += fmt::format(
        "<svg x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" viewBox=\"0 0 {} {}\" "
        "preserveAspectRatio=\"none\" shape-rendering=\"crispEdges\">\n",
        Px(k_.origin), Px(q_.origin), Px(k_.side), Px(q_.side), squares(k_), squares(q_));
    out_ += fmt::format("<rect width=\"100%\" height=\"100%\" fill=\"{}\"/>\n", kEmpty);
    for (const BlockKind kind : {BlockKind::kFull, BlockKind::kPartial}) {
      out_ += fmt::format("<path fill=\"{}\" d=\"{}\"/>\n", Colour(kind, pairs_),
                          BlockPath(map_, kind));
    }
    out_ += "</svg>\n";
  }

  void SinglePairs() {
    const double width = k_.TokenSide(), height = q_.TokenSide();
    std::string path;
    for (int64_t i = 0; i < mask_.Sq; ++i) {
      for (int64_t j = 0; j < mask_.Skv; ++j) {
        if (!mask_.Visible(what_.b, i, j)) continue;
        path += fmt::format("M{} {}h{}v{}h-{}z", Px(k_.At(j) + 0.1 * width),
                            Px(q_.At(i) + 0.1 * height), Px(0.8 * width), Px(0.8 * height),
                            Px(0.8 * width));
      }
    }
    if (!path.empty()) out_ += fmt::format("<path d=\"{}\" fill=\"{}\"/>\n", path, kFull);
  }

  // Thin white lines, where the squares are large enough to be told apart.
  void BlockEdges() {
    std::string path;
    const auto wide = [](const Axis& axis) {
      return axis.TokenSide() * static_cast<double>(axis.block) >= 5;
    };
    for (int64_t k = 1; wide(k_) && k < map_.key_blocks; ++k) {
      path += fmt::format("M{} {}V{}", Px(k_.Block(k)), Px(q_.origin), Px(q_.End()));
    }
    for (int64_t q = 1; wide(q_) && q < map_.query_blocks; ++q) {
      path += fmt::format("M{} {}H{}", Px(k_.origin), Px(q_.Block(q)), Px(k_.End()));
    }
    if (path.empty()) return;
    out_ += fmt::format("<path d=\"{}\" stroke=\"#ffffff\" stroke-width=\"{}\" fill=\"none\"/>\n",
                        path, pairs_ ? 2 : 1);
  }

  void Documents() {
    const std::vector<DocumentRun> of_keys = DocumentRuns(KeyIds(mask_, what_.b));
    const std::vector<DocumentRun> of_queries = DocumentRuns(QueryIds(mask_, what_.b));
    std::string lines;
    for (const double x : Starts(of_keys, k_)) {
      const double to = of_keys.size() <= kMostLines ? q_.End() : q_.origin;
      lines += fmt::format("M{} {}V{}", Px(x), Px(q_.origin - 5), Px(to));
    }
    for (const double y : Starts(of_queries, q_)) {
      const double to = of_queries.size() <= kMostLines ? k_.End() : k_.origin;
      lines += fmt::format("M{} {}H{}", Px(k_.origin - 5), Px(y), Px(to));
    }
    if (!lines.empty()) {
      out_ += fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-dasharray=\"4 3\" fill=\"none\"/>\n",
                          lines, kSvgInk);
    }
    LabelKeys(of_keys);
    LabelQueries(of_queries);
  }

  // Where documents begin on an axis, but for what nobody could tell apart.
  static std::vector<double> Starts(const std::vector<DocumentRun>& runs, const Axis& axis) {
    std::vector<double> starts;
    double last = axis.origin;
    for (const DocumentRun& run : runs) {
      if (axis.At(run.begin) - last < 3) continue;
      last = axis.At(run.begin);
      starts.push_back(last);
    }
    return starts;
  }

  bool IsAnchor(const DocumentRun& run) const {
    return mask_.spec.rule == MaskRule::kAnchor && run.id == 0;
  }

  // Above the map: a document's name over its tokens, its bare id where only that fits. Anchors,
  // mostly one token wide, have a line of their own.
  void LabelKeys(const std::vector<DocumentRun>& runs) {
    double documents_end = 0, anchors_end = 0;
    for (const DocumentRun& run : runs) {
      const bool anchor = IsAnchor(run);
      const double side = k_.At(run.end) - k_.At(run.begin);
      std::string label = anchor ? "anchor" : fmt::format("doc {}", run.id);
      if (!anchor && LabelWidth(label) + kGap > side) label = fmt::format("{}", run.id);
      const double middle = k_.At(run.begin) + side / 2;
      const double from = std::max(middle - LabelWidth(label) / 2, k_.origin);
      double& end = anchor ? anchors_end : documents_end;
      if ((!anchor && LabelWidth(label) > side) || from < end + kGap) continue;
      Text(from, q_.origin - (anchor ? 22 : 8), label, anchor ? "font-weight=\"bold\"" : "");
      end = from + LabelWidth(label);
    }
  }

  // Left of the map.
  void LabelQueries(const std::vector<DocumentRun>& runs) {
    double last = 0;
    for (const DocumentRun& run : runs) {
      const bool anchor = IsAnchor(run);
      const double side = q_.At(run.end) - q_.At(run.begin);
      const double y = std::max(q_.At(run.begin) + side / 2, q_.origin + 4) + 4;
      if ((!anchor && side < 8) || y < last + 13) continue;
      const std::string label = anchor ? "anchor" : fmt::format("doc {}", run.id);
      Text(k_.origin - 8, y, label,
           std::string("text-anchor=\"end\"") + (anchor ? " font-weight=\"bold\"" : ""));
      last = y;
    }
  }

  void Frame() {
    Rect(k_.origin, q_.origin, k_.side, q_.side,
         fmt::format("fill=\"none\" stroke=\"{}\" stroke-width=\"1\"", kSvgQuiet));
    const std::string quiet = fmt::format("fill=\"{}\"", kSvgQuiet);
    const std::string at_end = quiet + " text-anchor=\"end\"";
    Text(k_.origin, q_.End() + 16, "key 0", quiet);
    Text(k_.End(), q_.End() + 16, fmt::format("{}", mask_.Skv - 1), at_end);
    Text(k_.End() + 6, q_.origin + 10, "query 0", quiet);
    if (q_.side >= 2 * kLeastSide)
      Text(k_.End() + 6, q_.End(), fmt::format("{}", mask_.Sq - 1), quiet);
  }

  void Legend(double y) {
    double x = kLeft;
    const auto entry = [&](std::string_view colour, const std::string& text) {
      Rect(x, y - 10, 12, 12, fmt::format("fill=\"{}\" stroke=\"{}\"", colour, kSvgQuiet));
      Text(x + 18, y, text, "");
      x += 18 + LabelWidth(text) + 16;
    };
    entry(Colour(BlockKind::kFull, pairs_), fmt::format("full {}", counts_.full));
    entry(Colour(BlockKind::kPartial, pairs_), fmt::format("partial {}", counts_.partial));
    entry(kEmpty, fmt::format("empty {}", counts_.empty));
    if (pairs_) entry(kFull, "a pair that is kept");
    std::string note =
        fmt::format("blocks of {} queries &#215; {} keys", what_.block_q, what_.block_k);
    if (by_ > 1) note += fmt::format("; a square stands for {0} &#215; {0} of them", by_);
    Text(kLeft, y + 20, note, fmt::format("fill=\"{}\"", kSvgQuiet));
  }

  const Mask& mask_;
  const FigureOptions& what_;
  BlockMap map_;        // of squares
  BlockCounts counts_;  // of blocks
  int64_t by_;          // blocks on either side of a square
  bool pairs_;          // whether single pairs are drawn
  Axis q_, k_;
  std::string out_;
};

}  // namespace

std::string MaskFigure(const Mask& mask, const FigureOptions& options) {
  return Figure(mask, options).Svg();
}

}  // namespace bitanchor
