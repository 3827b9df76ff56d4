#include "tools/drift_series.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "tools/drift_lists.h"

namespace bitanchor::tools {

std::string Joined(const RecipeNames& names, size_t most, bool exact_is_one) {
  std::vector<std::pair<std::string, std::vector<std::string>>> by_dtype;
  for (const auto& [recipe, dtype] : names) {
    const std::string of =
        exact_is_one && recipe == kExact ? "" : " " + std::string(LowerName(dtype));
    auto at = std::find_if(by_dtype.begin(), by_dtype.end(),
                           [&of = of](const auto& group) { return group.first == of; });
    if (at == by_dtype.end()) at = by_dtype.insert(at, {of, {}});
    const bool is_new = std::find(at->second.begin(), at->second.end(), recipe) == at->second.end();
    if (is_new) at->second.push_back(recipe);
  }
  std::vector<std::string> parts;
  for (auto& [of, recipes] : by_dtype) {
    const size_t more = recipes.size() > most ? recipes.size() - most : 0;
    recipes.resize(recipes.size() - more);
    const std::string counted = more > 0 ? fmt::format(" +{}", more) : "";
    parts.push_back(fmt::format("{}{}{}", fmt::join(recipes, ", "), counted, of));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::vector<ChartSeries> Merged(const std::vector<NamedSeries>& lines) {
  std::vector<NamedSeries> merged;
  // As text NaN is its own equal.
  const auto text = [](const ChartSeries& s) { return fmt::format("{} {}", s.x, s.y); };
  for (const NamedSeries& line : lines) {
    const auto at = std::find_if(merged.begin(), merged.end(), [&](const NamedSeries& other) {
      return text(other.series) == text(line.series);
    });
    if (at == merged.end()) {
      merged.push_back(line);
    } else {
      at->names.insert(at->names.end(), line.names.begin(), line.names.end());
    }
  }
  const auto has_exact = [](const NamedSeries& line) {
    return std::any_of(line.names.begin(), line.names.end(),
                       [](const RecipeName& name) { return name.first == kExact; });
  };
  const bool exact_is_one = std::count_if(merged.begin(), merged.end(), has_exact) <= 1;
  std::vector<ChartSeries> series;
  for (NamedSeries& line : merged) {
    line.series.name = Joined(line.names, line.names.size(), exact_is_one);
    line.series.label = Joined(line.names, 2, exact_is_one);
    series.push_back(std::move(line.series));
  }
  return series;
}

void SortByX(ChartSeries& series) {
  std::vector<std::pair<double, double>> points;
  for (size_t n = 0; n < series.x.size(); ++n) points.emplace_back(series.x[n], series.y[n]);
  std::stable_sort(points.begin(), points.end(),
                   [](const auto& a, const auto& b) { return a.first < b.first; });
  for (size_t n = 0; n < points.size(); ++n) {
    series.x[n] = points[n].first;
    series.y[n] = points[n].second;
  }
}

void SmoothKeys(const std::vector<drift::KeyDrift>& keys, double drift::KeyDrift::*quantity,
                int64_t one_in, ChartSeries& series) {
  std::map<double, std::vector<std::pair<double, double>>> bins;
  for (size_t j = 0; j < keys.size(); ++j) {
    const double key = static_cast<double>(static_cast<int64_t>(j) * one_in);
    const double bin = key < 12 ? key : 1e6 + std::round(12 * std::log10(key));
    bins[bin].emplace_back(key, keys[j].*quantity);
  }
  for (const auto& [bin, points] : bins) {
    double x = 0, y = 0;
    for (const auto& [key, value] : points) {
      x += key;
      y += value;
    }
    series.x.push_back(x / static_cast<double>(points.size()));
    series.y.push_back(y / static_cast<double>(points.size()));
  }
}

std::vector<ChartSeries> StageLines(const StagePositions& found) {
  std::vector<ChartSeries> all;
  for (size_t n = 0; n < drift::kRopeStages.size(); ++n) {
    ChartSeries series;
    series.name = drift::Name(drift::kRopeStages[n]);
    series.style = static_cast<int>(n);
    for (const drift::StageCosts& pair : found.pairs) {
      if (pair.first_position[n] < 0) continue;
      series.x.push_back(std::fabs(pair.inverse_frequency));
      series.y.push_back(static_cast<double>(pair.first_position[n]));
    }
    if (!series.x.empty()) all.push_back(series);
  }
  return all;
}

}  // namespace bitanchor::tools
