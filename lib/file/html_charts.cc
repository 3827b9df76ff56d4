#include "lib/file/html_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cassert>
#include <cmath>
#include <vector>

#include "lib/file/mask_svg.h"
#include "lib/file/report_text.h"

namespace bitanchor {
namespace {

constexpr double kBarUnits = 1000, kSliverUnits = 6;

// A rectangle of a bar, and what its class means to a reader.
std::string Segment(const char* of_class, double at, double width) {
  if (width <= 0) return "";
  return fmt::format(R"(<rect class="{}" x="{:.5g}" width="{:.5g}" height="10"/>)", of_class, at,
                     width);
}

std::string Bar(const std::string& says, const std::string& segments) {
  return fmt::format(
      R"(<svg class="bar" viewBox="0 0 {} 10" preserveAspectRatio="none" role="img" aria-label="{}">)"
      R"(<rect class="s-ground" width="{}" height="10"/>{}</svg>)",
      kBarUnits, says, kBarUnits, segments);
}

// The bins' names: "below 1/2", "1/2 to 1", ..., "65536 and more".
std::string BinName(size_t bin) {
  const auto end = [](size_t n) {
    return kUlpBinEnds[n] < 1 ? std::string("½") : Grouped(static_cast<int64_t>(kUlpBinEnds[n]));
  };
  if (bin == 0) return "below " + end(0);
  if (bin == kUlpBinEnds.size()) return end(bin - 1) + " and more";
  return end(bin - 1) + "–" + end(bin);
}

// One cell of a heat map.
struct Cell {
  int64_t wrong = 0, elements = 0;
  double share = 0;
};

// Styles of cells: shades of the share where nothing is wrong, then how much of the block is wrong.
constexpr std::array<double, 3> kShareEnds = {0.25, 0.5, 0.75};
constexpr std::array<double, 2> kWrongEnds = {0.01, 0.1};
constexpr size_t kShades = kShareEnds.size() + 1, kStyles = kShades + kWrongEnds.size() + 1;

size_t StyleOf(const Cell& cell) {
  const auto bin = [](const auto& ends, double x) {
    return static_cast<size_t>(std::upper_bound(ends.begin(), ends.end(), x) - ends.begin());
  };
  if (cell.wrong == 0) return bin(kShareEnds, cell.share);
  const double part = static_cast<double>(cell.wrong) / static_cast<double>(cell.elements);
  return kShades + bin(kWrongEnds, part);
}

struct Grid {
  int64_t block, heads_per_row, rows, columns;
  std::vector<Cell> cells;  // [rows, columns]
};

Grid GridOf(const Census& census, const RowAxes& axes) {
  Grid grid;
  grid.block = PictureBlock(axes.tokens);
  grid.heads_per_row = PictureBlock(axes.heads);
  grid.columns = (axes.tokens + grid.block - 1) / grid.block;
  grid.rows = (axes.heads + grid.heads_per_row - 1) / grid.heads_per_row;
  grid.cells.resize(grid.rows * grid.columns);
  for (const RowRecord& row : census.Rows()) {
    assert(row.h < axes.heads && row.s < axes.tokens);
    Cell& cell = grid.cells[row.h / grid.heads_per_row * grid.columns + row.s / grid.block];
    cell.wrong += row.wrong;
    cell.elements += row.elements;
    cell.share = std::max<double>(cell.share, row.share);
  }
  return grid;
}

std::string StyleName(size_t style) {
  return style < kShades ? fmt::format("h{}", style) : fmt::format("w{}", style - kShades);
}

// Swatches of the styles [begin, end) and what they mean.
std::string StyleKey(size_t begin, size_t end, const char* says) {
  std::string item =
      fmt::format(R"(<span><svg viewBox="0 0 {} 1" aria-hidden="true">)", end - begin);
  for (size_t style = begin; style < end; ++style) {
    item += fmt::format(R"(<rect class="{}" x="{}" width="1" height="1"/>)", StyleName(style),
                        style - begin);
  }
  return item + "</svg> " + says + "</span>";
}

std::string CellsSvg(const Grid& grid) {
  std::array<std::string, kStyles> paths;
  for (int64_t y = 0; y < grid.rows; ++y) {
    for (int64_t x = 0; x < grid.columns; ++x) {
      const Cell& cell = grid.cells[y * grid.columns + x];
      if (cell.elements > 0) paths[StyleOf(cell)] += fmt::format("M{} {}h1v1h-1z", x, y);
    }
  }
  std::string svg = fmt::format(
      R"(<svg class="heat" style="--rows:{}" viewBox="0 0 {} {}" preserveAspectRatio="none" )"
      R"(shape-rendering="crispEdges" aria-hidden="true"><rect class="h-none" width="{}" height="{}"/>)",
      grid.rows, grid.columns, grid.rows, grid.columns, grid.rows);
  for (size_t style = 0; style < kStyles; ++style) {
    if (paths[style].empty()) continue;
    svg += fmt::format(R"(<path class="{}" d="{}"/>)", StyleName(style), paths[style]);
  }
  return svg + "</svg>";
}

std::string Range(int64_t begin, int64_t end) {
  return end - begin == 1 ? Grouped(begin) : Grouped(begin) + "–" + Grouped(end - 1);
}

// A group of a breakdown in words: distances stand for powers of two.
std::string GroupName(const Breakdown& breakdown, const Group& group) {
  if (breakdown.by != "distance" || group.value < 2) return std::to_string(group.value);
  const int64_t begin = int64_t{1} << (group.value - 1);
  return Range(begin, 2 * begin);
}

// "The worst block: query head 3, queries 128–191: 12 of 4,096 elements wrong."
std::string WorstBlock(const Grid& grid, const RowAxes& axes) {
  const auto worse = [](const Cell& x, const Cell& y) {
    return x.wrong != y.wrong ? x.wrong < y.wrong : x.share < y.share;
  };
  const auto worst = std::max_element(grid.cells.begin(), grid.cells.end(), worse);
  const int64_t at = worst - grid.cells.begin();
  const int64_t head = at / grid.columns * grid.heads_per_row;
  const int64_t token = at % grid.columns * grid.block;
  const std::string says =
      worst->wrong > 0
          ? fmt::format("{} of {} elements wrong", Grouped(worst->wrong), Grouped(worst->elements))
          : fmt::format("{} of what is allowed", Short(worst->share));
  return fmt::format("Worst block: {} {}, {} {}: {}.", axes.head,
                     Range(head, std::min(axes.heads, head + grid.heads_per_row)), axes.token,
                     Range(token, std::min(axes.tokens, token + grid.block)), says);
}

}  // namespace

std::string CensusBar(const Census& census) {
  const double n = static_cast<double>(std::max<int64_t>(census.elements(), 1));
  const int64_t wrong = census.outside + census.nonfinite_mismatch;
  const auto width = [&](int64_t count) { return kBarUnits * static_cast<double>(count) / n; };
  const double sliver = wrong > 0 ? std::max(width(wrong), kSliverUnits) : 0;
  const double squeeze = wrong > 0 && census.elements() > wrong
                             ? (kBarUnits - sliver) / (kBarUnits - width(wrong))
                             : 1;
  std::string segments;
  double at = 0;
  for (const auto& [of_class, count] :
       {std::pair("s-exact", census.exact), std::pair("s-within", census.within),
        std::pair("s-undetermined", census.undetermined)}) {
    segments += Segment(of_class, at, squeeze * width(count));
    at += squeeze * width(count);
  }
  segments += Segment("s-wrong", kBarUnits - sliver, sliver);
  return Bar(fmt::format("exact {}, within {}, undetermined {}, wrong {}", census.exact,
                         census.within, census.undetermined, wrong),
             segments);
}

std::string UlpHistogram(const Census& census) {
  int64_t all = 0;
  size_t bins = 0;
  for (size_t bin = 0; bin < kUlpBins; ++bin) {
    all += census.by_ulp[bin];
    if (census.by_ulp[bin] > 0) bins = bin + 1;
  }
  if (all == 0) return "<p class=\"muted\">No element is finite where a number was wanted.</p>";
  std::string rows;
  for (size_t bin = 0; bin < bins; ++bin) {
    const int64_t count = census.by_ulp[bin];
    const double part = kBarUnits * static_cast<double>(count) / static_cast<double>(all);
    const double width = count > 0 ? std::max(part, kSliverUnits) : 0;
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"wide\">{}</td><td>{}</td><td>{}</td></tr>\n",
        BinName(bin), Bar(Percent(count, all), Segment("s-within", 0, width)), Grouped(count),
        count > 0 ? Percent(count, all) : "");
  }
  return "<div class=\"scroll\"><table class=\"histogram\"><tbody>\n" + rows +
         "</tbody></table></div>";
}

std::string HeatMap(const Census& census, const RowAxes& axes, bool replay) {
  const Grid grid = GridOf(census, axes);
  const std::string heads = axes.heads > 1
                                ? fmt::format("<span>head 0</span><span>{}</span>", axes.heads - 1)
                                : "<span>head 0</span>";
  std::string key =
      replay ? StyleKey(0, 1, "the same bits") : StyleKey(0, kShades, "0 to 1 of what is allowed");
  if (census.outside + census.nonfinite_mismatch > 0) {
    key += StyleKey(kShades, kStyles, "wrong: some of the block, over 1%, over 10%");
  }
  const std::string cell =
      grid.heads_per_row > 1
          ? fmt::format("{} heads by {} {} rows", grid.heads_per_row, grid.block, axes.token)
          : fmt::format("1 head by {} {} rows", grid.block, axes.token);
  return fmt::format(
      "<div class=\"heatmap\"><div class=\"heads\">{}</div>{}<div></div>"
      "<div class=\"tokens\"><span>{} 0</span><span>{}</span></div></div>\n"
      "<p class=\"key\">{}</p>\n<p class=\"muted\">A cell is {}. {}</p>\n",
      heads, CellsSvg(grid), axes.token, Grouped(axes.tokens - 1), key, cell,
      WorstBlock(grid, axes));
}

std::string GroupColumns(const Breakdown& breakdown) {
  std::string columns;
  double most = 0;
  const Group* worst = nullptr;
  const size_t n = breakdown.groups.size();
  for (size_t x = 0; x < n; ++x) {
    const Group& group = breakdown.groups[x];
    if (group.wrong == 0) continue;
    const double part = static_cast<double>(group.wrong) / static_cast<double>(group.elements);
    const double height = std::max(100 * part, 3.0);  // 3: what is wrong is seen
    columns += fmt::format("M{} 100h.9v-{:.4g}h-.9z", x, height);
    if (part > most) worst = &group;
    most = std::max(most, part);
  }
  if (worst == nullptr) return "";
  const std::string by =
      breakdown.by == "distance" ? "tokens from the document’s start" : breakdown.by;
  return fmt::format(
      "<div><svg class=\"columns\" viewBox=\"0 0 {} 100\" preserveAspectRatio=\"none\" "
      "aria-hidden=\"true\"><rect class=\"s-ground\" width=\"{}\" height=\"100\"/>"
      "<path class=\"s-wrong\" d=\"{}\"/></svg>"
      "<div class=\"tokens\"><span>{} {}</span><span>{}</span></div>"
      "<p class=\"muted\">At most {:.3g}%: {} {}.</p></div>\n",
      n, n, columns, by, GroupName(breakdown, breakdown.groups.front()),
      GroupName(breakdown, breakdown.groups.back()), 100 * most, by, GroupName(breakdown, *worst));
}

std::string KeyItem(const char* of_class, const char* says) {
  return fmt::format(
      R"(<span><svg viewBox="0 0 1 1" aria-hidden="true"><rect class="{}" width="1" height="1"/></svg> {}</span>)",
      of_class, says);
}

std::string IntervalStrip(double share) {
  if (!std::isfinite(share)) return "";
  const double at = 50 + 24 * std::clamp(share, -2.0, 2.0);
  const bool out = std::fabs(share) > 1, beyond = std::fabs(share) > 2;
  const std::string answer =
      beyond ? fmt::format(R"(<path class="got-out" d="M{0:.4g} 6l{1} -4v8z"/>)",
                           share > 0 ? 99.0 : 1.0, share > 0 ? -6 : 6)
             : fmt::format(R"(<circle class="{}" cx="{:.4g}" cy="6" r="3"/>)",
                           out ? "got-out" : "got-in", at);
  return R"(<svg class="strip" viewBox="0 0 100 12" aria-hidden="true"><path class="axis" d="M0 6h100"/>)"
         R"(<rect class="allowed" x="26" y="3" width="48" height="6"/><path class="axis" d="M50 2v8"/>)" +
         answer + "</svg>";
}

}  // namespace bitanchor
