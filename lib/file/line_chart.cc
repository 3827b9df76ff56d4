#include "lib/file/line_chart.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>

#include "lib/file/label_places.h"
#include "lib/file/markup.h"
#include "lib/file/svg_text.h"

namespace bitanchor {
namespace {

// The yellow, which white paper hides, is left out.
constexpr std::array<std::string_view, 7> kColours = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                                      "#e69f00", "#56b4e9", "#000000"};
// Around (0, 0): circle, square, triangle, diamond, triangle down, plus, cross, hourglass.
constexpr std::array<std::string_view, 8> kMarkers = {
    "m-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0 -7 0z",
    "m-3 -3h6v6h-6z",
    "m0 -4l4 7h-8z",
    "m0 -4.5l4.5 4.5l-4.5 4.5l-4.5 -4.5z",
    "m0 4l4 -7h-8z",
    "m-1.2 -4h2.4v2.8h2.8v2.4h-2.8v2.8h-2.4v-2.8h-2.8v-2.4h2.8z",
    "m-3.7 -2l1.7 -1.7l2 2l2 -2l1.7 1.7l-2 2l2 2l-1.7 1.7l-2 -2l-2 2l-1.7 -1.7l2 -2z",
    "m-3.5 -3.5h7l-7 7h7z"};

// In pixels.
constexpr double kMargin = 24, kPlotWidth = 540, kLeastHeight = 200, kRow = 17;
constexpr double kTitle = 26, kBelow = 46, kBetween = 22;          // above, below and between plots
constexpr double kLeader = 18, kSample = 26, kLabelWidth = 236;    // right of a plot
constexpr double kNumbers = 76, kMostLeft = 240, kDotMargin = 10;  // left of a plot, inside it
constexpr double kEm = 12;

std::string TickMarkup(const ChartTick& tick, double width) {
  std::string markup = CutMarkup(tick.label, width);
  if (tick.exponent.empty()) return markup;
  return markup + "<tspan dy=\"-5\" font-size=\"9\">" + MarkupEscaped(tick.exponent) + "</tspan>";
}

struct Point {
  double x, y;
  bool operator==(const Point&) const = default;
};

std::vector<double> Values(const LineChart& chart, std::vector<double> ChartSeries::*which) {
  std::vector<double> values;
  for (const ChartSeries& series : chart.series) {
    values.insert(values.end(), (series.*which).begin(), (series.*which).end());
  }
  return values;
}

double LeftOf(const LineChart& chart) {
  double left = kNumbers;
  for (const ChartTick& tick : chart.y.ticks) left = std::max(left, LabelWidth(tick.label) + 14);
  return std::min(left, kMostLeft);
}

class Drawing {
 public:
  Drawing(const LineChart& chart, double left, double top)
      : chart_(chart),
        left_(left),
        top_(top + kTitle),
        height_(std::max({kLeastHeight, kRow * static_cast<double>(chart.series.size()),
                          kRow * static_cast<double>(chart.y.ticks.size())})),
        x_(chart.x, Values(chart, &ChartSeries::x), 8),
        y_(chart.y, Values(chart, &ChartSeries::y), 7) {}

  double Bottom() const { return top_ + height_ + kBelow; }

  std::string Svg() {
    out_ = "<g>\n" + SvgText(left_, top_ - 10, MarkupEscaped(chart_.title),
                             "font-size=\"13\" font-weight=\"bold\"");
    XTicks();
    YTicks();
    Frame();
    bool any = false;
    for (const ChartSeries& series : chart_.series) any |= Series(series);
    if (!any) {
      out_ += SvgText(left_ + kPlotWidth / 2, top_ + height_ / 2, "nothing to show",
                      "text-anchor=\"middle\"");
    }
    Labels();
    return out_ + "</g>\n";
  }

 private:
  double X(double value) const {
    return left_ + kDotMargin + (kPlotWidth - 2 * kDotMargin) * x_.At(value);
  }
  double Y(double value) const { return top_ + height_ * (1 - y_.At(value)); }

  // The points of a series that can be shown; nullopt where there is a gap.
  std::vector<std::optional<Point>> Points(const ChartSeries& series) const {
    std::vector<std::optional<Point>> points;
    for (size_t n = 0; n < std::min(series.x.size(), series.y.size()); ++n) {
      const bool shown = CanBeShown(series.x[n]) && CanBeShown(series.y[n]);
      points.push_back(shown ? std::optional(Point{X(series.x[n]), Y(series.y[n])}) : std::nullopt);
    }
    return points;
  }

  // Every tick, and labels as far as they do not touch.
  void XTicks() {
    std::vector<ChartTick> ticks = x_.ticks();
    std::stable_sort(ticks.begin(), ticks.end(), [&](const ChartTick& a, const ChartTick& b) {
      return X(a.place) < X(b.place);
    });
    std::string grid;
    double end = 0;
    for (const ChartTick& tick : ticks) {
      const double x = X(tick.place), half = LabelWidth(tick.label + tick.exponent) / 2;
      grid += fmt::format("M{} {}V{}", Px(x), Px(top_), Px(top_ + height_ + 4));
      if (x - half < end) continue;
      end = x + half + kEm / 2;
      out_ += SvgText(x, top_ + height_ + 18, TickMarkup(tick, kMostLeft),
                      fmt::format("text-anchor=\"middle\" fill=\"{}\"", kSvgQuiet));
    }
    Grid(grid);
    out_ += SvgText(left_ + kPlotWidth / 2, top_ + height_ + 36, MarkupEscaped(chart_.x.label),
                    "text-anchor=\"middle\"");
  }

  // The axes; two strokes across the one that is broken.
  void Frame() {
    const double bottom = top_ + height_;
    std::string path =
        fmt::format("M{} {}V{}H{}", Px(left_), Px(top_), Px(bottom), Px(left_ + kPlotWidth));
    const double x = left_ + kDotMargin + (kPlotWidth - 2 * kDotMargin) * x_.Break();
    const double y = bottom - height_ * y_.Break();
    for (const double along : {-2.0, 2.0}) {
      if (x_.Break() > 0) path += fmt::format("M{} {}l3 -8", Px(x + along - 1.5), Px(bottom + 4));
      if (y_.Break() > 0) path += fmt::format("M{} {}l8 -3", Px(left_ - 4), Px(y + along + 1.5));
    }
    out_ += fmt::format("<path d=\"{}\" stroke=\"{}\" fill=\"none\"/>\n", path, kSvgQuiet);
  }

  void YTicks() {
    std::string grid;
    for (const ChartTick& tick : y_.ticks()) {
      grid += fmt::format("M{} {}H{}", Px(left_ - 4), Px(Y(tick.place)), Px(left_ + kPlotWidth));
      out_ += SvgText(left_ - 8, Y(tick.place) + 4, TickMarkup(tick, left_ - 14),
                      fmt::format("text-anchor=\"end\" fill=\"{}\"", kSvgQuiet));
    }
    Grid(grid);
    if (chart_.y.label.empty()) return;
    out_ += SvgText(0, 0, MarkupEscaped(chart_.y.label),
                    fmt::format("text-anchor=\"middle\" transform=\"translate({} {}) rotate(-90)\"",
                                Px(left_ - kNumbers + 12), Px(top_ + height_ / 2)));
  }

  void Grid(const std::string& path) {
    if (path.empty()) return;
    out_ += fmt::format("<path d=\"{}\" stroke=\"#e4e4e4\" fill=\"none\"/>\n", path);
  }

  static std::string_view Colour(const ChartSeries& series) {
    return kColours[static_cast<size_t>(series.style) % kColours.size()];
  }

  static std::string Stroke(const ChartSeries& series, std::string_view path) {
    const std::string_view dashes = series.dash == ChartDash::kDashed    ? "6 4"
                                    : series.dash == ChartDash::kDashDot ? "9 3 2 3"
                                                                         : "";
    return fmt::format("<path d=\"{}\" stroke=\"{}\" stroke-width=\"1.6\" fill=\"none\"{}/>\n",
                       path, Colour(series),
                       dashes.empty() ? "" : fmt::format(" stroke-dasharray=\"{}\"", dashes));
  }

  static std::string Markers(const ChartSeries& series, const std::vector<Point>& points) {
    std::string path;
    for (const Point& point : points) {
      path += fmt::format("M{} {}", Px(point.x), Px(point.y));
      path += kMarkers[static_cast<size_t>(series.style) % kMarkers.size()];
    }
    if (path.empty()) return "";
    const std::string_view inside = series.dash == ChartDash::kSolid    ? Colour(series)
                                    : series.dash == ChartDash::kDashed ? "#ffffff"
                                                                        : "#d0d0d0";
    return fmt::format("<path d=\"{}\" fill=\"{}\" stroke=\"{}\"/>\n", path, inside,
                       Colour(series));
  }

  // Whether there was anything to draw.
  bool Series(const ChartSeries& series) {
    std::string path;
    std::vector<Point> marked;
    const Point* before = nullptr;
    const std::vector<std::optional<Point>> points = Points(series);
    for (size_t n = 0; n < points.size(); ++n) {
      if (!points[n]) {
        before = nullptr;
        continue;
      }
      const bool gap = y_.Break() > 0 && n > 0 && (series.y[n] == 0) != (series.y[n - 1] == 0);
      path += fmt::format("{}{} {}", before == nullptr || gap ? "M" : "L", Px(points[n]->x),
                          Px(points[n]->y));
      before = &*points[n];
      if (series.markers || marked.empty()) marked.push_back(*points[n]);
    }
    out_ += "<g><title>" + MarkupEscaped(series.name) + "</title>\n";
    if (series.line && path.find('L') != std::string::npos) out_ += Stroke(series, path);
    out_ += Markers(series, marked) + "</g>\n";
    return !marked.empty();
  }

  // Right of the plot: a sample of each series, its label, and a thin line from its last point.
  void Labels() {
    std::vector<double> places;
    std::vector<std::optional<Point>> ends;
    for (const ChartSeries& series : chart_.series) {
      ends.emplace_back();
      for (const std::optional<Point>& point : Points(series)) {
        if (point) ends.back() = point;
      }
      places.push_back(!chart_.legend && ends.back() ? ends.back()->y : top_ + 8);
    }
    places = SpreadLabels(places, kRow, top_ + 8, top_ + height_ - 8);
    for (size_t n = 0; n < chart_.series.size(); ++n) {
      if (!chart_.legend && ends[n]) Leader(*ends[n], places[n]);
      Label(chart_.series[n], places[n]);
    }
  }

  void Leader(const Point& from, double y) {
    const double edge = left_ + kPlotWidth;
    out_ += fmt::format(
        "<path d=\"M{} {}H{}L{} {}\" stroke=\"#b0b0b0\" stroke-width=\".7\" "
        "fill=\"none\"/>\n",
        Px(from.x + 6), Px(from.y), Px(std::max(edge, from.x + 6)), Px(edge + kLeader), Px(y));
  }

  void Label(const ChartSeries& series, double y) {
    const double x = left_ + kPlotWidth + kLeader + 3;
    if (series.line)
      out_ += Stroke(series, fmt::format("M{} {}h{}", Px(x), Px(y), Px(kSample - 6)));
    out_ += Markers(series, {{x + (kSample - 6) / 2, y}});
    std::string label = series.label.empty() ? series.name : series.label;
    const std::vector<std::optional<Point>> points = Points(series);
    const auto missing = std::count(points.begin(), points.end(), std::nullopt);
    if (missing > 0) label = fmt::format("({} not shown) {}", missing, label);
    out_ += SvgText(x + kSample, y + 4, CutMarkup(label, kLabelWidth));
  }

  const LineChart& chart_;
  double left_, top_, height_;  // of the plot
  ChartRange x_, y_;
  std::string out_;
};

}  // namespace

std::string ChartsSvg(const ChartPage& page) {
  double left = 0;
  std::string description;
  for (const LineChart& chart : page.charts) {
    left = std::max(left, kMargin + LeftOf(chart));
    description += (description.empty() ? "" : "; ") + chart.title;
  }
  std::string body =
      SvgText(kMargin, 34, MarkupEscaped(page.title), "font-size=\"16\" font-weight=\"bold\"");
  double y = 36;
  const double width = left + kPlotWidth + kLeader + kSample + kLabelWidth + kMargin;
  for (const std::string& line : page.lines) {
    for (const std::string& part : Folded(line, width - 2 * kMargin)) {
      y += 17;
      body += SvgText(kMargin, y, CutMarkup(part, width - 2 * kMargin),
                      fmt::format("fill=\"{}\"", kSvgQuiet));
    }
  }
  for (const LineChart& chart : page.charts) {
    Drawing drawing(chart, left, y + kBetween);
    body += drawing.Svg();
    y = drawing.Bottom();
  }
  return SvgBegin(width, y + kMargin, page.title, description) + body + "</svg>\n";
}

}  // namespace bitanchor
