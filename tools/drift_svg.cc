#include "tools/drift_svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <set>
#include <utility>

#include "tools/drift_lists.h"
#include "tools/drift_series.h"

namespace bitanchor::tools {
namespace {

using Quantity = double (*)(const DriftRow&);

double DAbs(const DriftRow& row) { return row.drift.D_abs; }
double DSigned(const DriftRow& row) { return row.drift.D_signed; }
double DLogit(const DriftRow& row) { return row.drift.keys.front().D_logit; }

ChartDash DashOf(const DriftRow& row) {
  if (row.dtype == DType::kBF16) return ChartDash::kSolid;
  return row.dtype == DType::kF16 ? ChartDash::kDashDot : ChartDash::kDashed;
}

class Charts {
 public:
  explicit Charts(const DriftReport& report) : report_(report) {
    for (const DriftRow& row : report.rows) {
      styles_.emplace(row.recipe, static_cast<int>(styles_.size()));
      longest_ = std::max(longest_, row.length);
    }
  }

  ChartPage Page() {
    page_.title = "RoPE drift";
    page_.lines = {"input: " + report_.input, "rope: " + report_.rope};
    if (report_.one_in > 1) {
      page_.lines.push_back(fmt::format("taken: one token in {}", report_.one_in));
    }
    std::set<std::pair<int64_t, int64_t>> shifts;
    std::set<int64_t> lengths;
    for (const DriftRow& row : report_.rows) {
      shifts.emplace(row.shift.one, row.shift.other);
      lengths.insert(row.length);
    }
    if (shifts.size() == 1 && lengths.size() == 1) Recipes();
    if (shifts.size() > 1) ByShift();
    if (lengths.size() > 1) ByLength();
    if (report_.all_keys) ByKey();
    if (!report_.stages.empty()) ByStage();
    if (!report_.first_positions.empty()) Positions();
    return page_;
  }

 private:
  ChartSeries Styled(const DriftRow& row) const {
    ChartSeries series;
    series.style = styles_.at(row.recipe);
    series.dash = DashOf(row);
    return series;
  }

  // One line a recipe and dtype, of the rows that are wanted.
  std::vector<ChartSeries> Lines(const std::function<bool(const DriftRow&)>& wanted,
                                 const std::function<double(const DriftRow&)>& x,
                                 Quantity y) const {
    std::vector<NamedSeries> lines;
    for (const DriftRow& row : report_.rows) {
      if (!wanted(row)) continue;
      const RecipeName name(row.recipe, row.dtype);
      auto at = std::find_if(lines.begin(), lines.end(), [&name](const NamedSeries& line) {
        return line.names.front() == name;
      });
      if (at == lines.end()) at = lines.insert(at, {Styled(row), {name}});
      at->series.x.push_back(x(row));
      at->series.y.push_back(y(row));
    }
    for (NamedSeries& line : lines) SortByX(line.series);
    return Merged(lines);
  }

  bool First(const DriftRow& row) const { return row.shift == report_.rows.front().shift; }
  bool Longest(const DriftRow& row) const { return row.length == longest_; }
  std::string ShiftsInWords() const {
    const Shift& shift = report_.rows.front().shift;
    return fmt::format("shifts {} and {}", shift.one, shift.other);
  }
  std::string LogitName() const {
    return fmt::format("D_logit of key {}", report_.key * report_.one_in);
  }

  void Add(std::string title, ChartAxis x, ChartAxis y, std::vector<ChartSeries> series) {
    page_.charts.push_back({std::move(title), std::move(x), std::move(y), std::move(series)});
  }

  // Whether exact is the same in every dtype.
  bool ExactIsOne(Quantity quantity) const {
    std::set<std::string> values;  // as text, NaN is its own equal
    for (const DriftRow& row : report_.rows) {
      if (row.recipe == kExact) values.insert(fmt::to_string(quantity(row)));
    }
    return values.size() <= 1;
  }

  // A row for each recipe and dtype.
  void Recipes() {
    for (const auto& [name, quantity] : {std::pair<std::string, Quantity>("D_abs", DAbs),
                                         std::pair<std::string, Quantity>(LogitName(), DLogit)}) {
      ChartAxis x{name}, y;
      x.from_zero = y.reversed = true;
      y.scale = ChartScale::kLinear;
      const bool exact_is_one = ExactIsOne(quantity);
      std::vector<ChartSeries> series;
      for (const DriftRow& row : report_.rows) {
        const std::string says = Joined({{row.recipe, row.dtype}}, 1, exact_is_one);
        if (!y.ticks.empty() && y.ticks.back().label == says) continue;
        const double place = static_cast<double>(y.ticks.size());
        y.ticks.push_back({place, says, ""});
        series.push_back(Styled(row));
        series.back().name = fmt::format("{}: {}", says, quantity(row));
        series.back().label = fmt::format("{:.4g}", quantity(row));
        series.back().line = false;
        series.back().x = {quantity(row)};
        series.back().y = {place};
      }
      Add(fmt::format("{}: {} tokens, {}", name, longest_, ShiftsInWords()), x, y, series);
    }
  }

  // Against the first shift where all have the same second one, or the other way round; else a
  // place for each pair.
  void ByShift() {
    const Shift first = report_.rows.front().shift;
    bool same_one = true, same_other = true;
    std::vector<Shift> shifts;
    for (const DriftRow& row : report_.rows) {
      same_one = same_one && row.shift.one == first.one;
      same_other = same_other && row.shift.other == first.other;
      if (std::find(shifts.begin(), shifts.end(), row.shift) == shifts.end()) {
        shifts.push_back(row.shift);
      }
    }
    ChartAxis x{"shift of all positions"};
    x.whole = true;
    std::string title = fmt::format("by shift: {} tokens, against a shift of {}", longest_,
                                    same_other ? first.other : first.one);
    if (!same_one && !same_other) {
      title = fmt::format("by pair of shifts: {} tokens", longest_);
      x.label = "both shifts";
      x.scale = ChartScale::kLinear;
      for (const Shift& shift : shifts) {
        x.ticks.push_back({static_cast<double>(x.ticks.size()),
                           fmt::format("{}:{}", shift.one, shift.other), ""});
      }
    }
    const auto place = [&](const DriftRow& row) {
      if (same_other) return static_cast<double>(row.shift.one);
      if (same_one) return static_cast<double>(row.shift.other);
      return static_cast<double>(std::find(shifts.begin(), shifts.end(), row.shift) -
                                 shifts.begin());
    };
    const auto wanted = [&](const DriftRow& row) { return Longest(row); };
    for (const auto& [name, quantity] : {std::pair<std::string, Quantity>("D_abs", DAbs),
                                         std::pair<std::string, Quantity>("D_signed", DSigned)}) {
      ChartAxis y{name};
      y.from_zero = true;
      Add(title, x, y, Lines(wanted, place, quantity));
    }
  }

  void ByLength() {
    ChartAxis x{"tokens", ChartScale::kLog}, y{LogitName()};
    y.from_zero = true;
    std::set<int64_t> lengths;
    for (const DriftRow& row : report_.rows) lengths.insert(row.length);
    for (const int64_t length : lengths) {
      x.ticks.push_back({static_cast<double>(length), fmt::to_string(length), ""});
    }
    Add("by length: " + ShiftsInWords(), x, y,
        Lines([&](const DriftRow& row) { return First(row); },
              [](const DriftRow& row) { return static_cast<double>(row.length); }, DLogit));
  }

  void ByKey() {
    using drift::KeyDrift;
    for (const auto& [name, quantity] :
         {std::pair("D_abs", &KeyDrift::D_abs), std::pair("D_logit", &KeyDrift::D_logit)}) {
      std::vector<NamedSeries> lines;
      for (const DriftRow& row : report_.rows) {
        if (!First(row) || !Longest(row)) continue;
        ChartSeries series = Styled(row);
        series.markers = false;
        SmoothKeys(row.drift.keys, quantity, report_.one_in, series);
        lines.push_back({series, {{row.recipe, row.dtype}}});
      }
      ChartAxis x{"key (0: the first)"}, y{name};
      x.whole = true;
      y.from_zero = true;
      Add(fmt::format("by key, later ones averaged: {} tokens, {}", longest_, ShiftsInWords()), x,
          y, Merged(lines));
    }
  }

  // Rows: all stages round, then each alone.
  void ByStage() {
    ChartAxis x{"D_abs"}, y;
    x.from_zero = y.reversed = true;
    y.scale = ChartScale::kLinear;
    y.ticks = {{1, "all round", ""}};
    for (const drift::RopeStage stage : drift::kRopeStages) {
      y.ticks.push_back(
          {1 + static_cast<double>(y.ticks.size()), std::string(drift::Name(stage)), ""});
    }
    std::vector<NamedSeries> lines;
    for (const DriftRow& all : report_.rows) {
      if (!First(all) || !Longest(all) || all.recipe == kExact) continue;
      NamedSeries line{Styled(all), {{all.recipe, all.dtype}}};
      line.series.line = false;
      line.series.x = {all.drift.D_abs};
      line.series.y = {1};
      for (const DriftRow& row : report_.stages) {
        const bool same = row.recipe == all.recipe && row.dtype == all.dtype;
        if (!same || !First(row) || !Longest(row) || !row.rounded) continue;
        line.series.x.push_back(row.drift.D_abs);
        line.series.y.push_back(2 + static_cast<double>(*row.rounded));
      }
      lines.push_back(line);
    }
    std::vector<ChartSeries> series = Merged(lines);
    // Those of a row stand below one another.
    const double n = static_cast<double>(series.size());
    for (size_t m = 0; m < series.size(); ++m) {
      for (double& place : series[m].y) place += 0.7 * ((static_cast<double>(m) + 0.5) / n - 0.5);
    }
    Add(fmt::format("by stage, each alone rounds: {} tokens, {}", longest_, ShiftsInWords()), x, y,
        std::move(series));
    page_.charts.back().legend = true;
  }

  // From which position on a stage costs an ulp: a chart for the recipes that have the same ones.
  void Positions() {
    std::vector<std::pair<std::vector<ChartSeries>, RecipeNames>> panels;
    RecipeNames without;
    for (const StagePositions& found : report_.first_positions) {
      const std::vector<ChartSeries> series = StageLines(found);
      const RecipeName name(found.recipe, found.dtype);
      if (series.empty()) {
        without.push_back(name);
        continue;
      }
      const auto at = std::find_if(panels.begin(), panels.end(), [&series](const auto& panel) {
        return std::equal(panel.first.begin(), panel.first.end(), series.begin(), series.end(),
                          [](const ChartSeries& a, const ChartSeries& b) {
                            return a.name == b.name && a.x == b.x && a.y == b.y;
                          });
      });
      if (at == panels.end()) {
        panels.push_back({series, {name}});
      } else {
        at->second.push_back(name);
      }
    }
    for (const auto& [series, names] : panels) {
      ChartAxis x{"rotary pair's frequency, radians a position"};
      ChartAxis y{fmt::format("least position, of {}", report_.positions)};
      x.reversed = y.from_zero = y.whole = true;
      Add("where an ulp of a bf16 logit is lost: " + Joined(names, 4, true), x, y, series);
    }
    if (without.empty()) return;
    page_.lines.push_back(fmt::format("no stage costs an ulp of a bf16 logit below position {}: {}",
                                      report_.positions, Joined(without, without.size(), true)));
  }

  const DriftReport& report_;
  std::map<std::string, int> styles_;  // of recipes, in the order of the rows
  int64_t longest_ = 0;
  ChartPage page_;
};

}  // namespace

ChartPage DriftCharts(const DriftReport& report) { return Charts(report).Page(); }

std::string DriftSvg(const DriftReport& report) { return ChartsSvg(DriftCharts(report)); }

}  // namespace bitanchor::tools
