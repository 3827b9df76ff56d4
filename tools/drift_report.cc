#include "tools/drift_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace bitanchor::tools {
namespace {

using Json = nlohmann::ordered_json;

// Numbers that are not finite as strings.
Json Number(double x) { return std::isfinite(x) ? Json(x) : Json(fmt::format("{}", x)); }

Json KeyJson(const drift::KeyDrift& key) {
  return {{"D_abs", Number(key.D_abs)},
          {"D_signed", Number(key.D_signed)},
          {"D_logit", Number(key.D_logit)},
          {"D_attention", Number(key.D_attention)}};
}

Json RowJson(const DriftReport& report, const DriftRow& row) {
  const drift::KeyDrift& key = row.drift.keys.front();
  Json json = {{"recipe", row.recipe},
               {"dtype", LowerName(row.dtype)},
               {"shift", {row.shift.one, row.shift.other}},
               {"length", row.length}};
  if (row.exact) json["exact"] = drift::Name(*row.exact);
  if (row.rounded) json["rounded"] = drift::Name(*row.rounded);
  json["D_abs"] = Number(row.drift.D_abs);
  json["D_signed"] = Number(row.drift.D_signed);
  json["key"] = report.key * report.one_in;
  json["D_logit"] = Number(key.D_logit);
  json["D_attention"] = Number(key.D_attention);
  json["D_output"] = report.has_output ? Number(row.drift.D_output) : Json(nullptr);
  if (!report.all_keys) return json;
  Json keys = Json::array();
  for (size_t j = 0; j < row.drift.keys.size(); ++j) {
    Json one = {{"key", static_cast<int64_t>(j) * report.one_in}};
    one.update(KeyJson(row.drift.keys[j]));
    keys.push_back(std::move(one));
  }
  json["keys"] = std::move(keys);
  return json;
}

Json PositionsJson(const StagePositions& found) {
  Json pairs = Json::array();
  for (size_t i = 0; i < found.pairs.size(); ++i) {
    const drift::StageCosts& costs = found.pairs[i];
    Json first = Json::object();
    for (size_t n = 0; n < drift::kRopeStages.size(); ++n) {
      const int64_t p = costs.first_position[n];
      first[std::string(drift::Name(drift::kRopeStages[n]))] = p < 0 ? Json(nullptr) : Json(p);
    }
    pairs.push_back({{"pair", i},
                     {"inverse_frequency", costs.inverse_frequency},
                     {"first_position", std::move(first)}});
  }
  return {{"recipe", found.recipe}, {"dtype", LowerName(found.dtype)}, {"pairs", std::move(pairs)}};
}

std::string RowHead(const DriftReport& report) {
  return fmt::format("{:<20} {:<5} {:>11} {:>8}  {:>10} {:>10} {:>12} {:>10}\n", "recipe", "dtype",
                     "shift", "length", "D_abs", "D_signed",
                     fmt::format("D_logit[{}]", report.key * report.one_in), "D_output");
}

std::string RowNumbers(const DriftReport& report, const drift::Drift& drift) {
  const std::string output = report.has_output ? fmt::format("{:.4g}", drift.D_output) : "-";
  return fmt::format("{:>10.4g} {:>10.4g} {:>12.4g} {:>10}\n", drift.D_abs, drift.D_signed,
                     drift.keys.front().D_logit, output);
}

std::string RowText(const DriftReport& report, const DriftRow& row) {
  return fmt::format("{:<20} {:<5} {:>11} {:>8}  ", row.recipe, LowerName(row.dtype),
                     fmt::format("{}:{}", row.shift.one, row.shift.other), row.length) +
         RowNumbers(report, row.drift);
}

// The keys that add most to D_abs.
std::string KeysText(const DriftReport& report, const DriftRow& row) {
  constexpr size_t kMost = 8;
  std::vector<size_t> order(row.drift.keys.size());
  for (size_t j = 0; j < order.size(); ++j) order[j] = j;
  const size_t shown = std::min(kMost, order.size());
  const auto more = [&](size_t a, size_t b) {
    const double x = row.drift.keys[a].D_abs, y = row.drift.keys[b].D_abs;
    return x > y || (x == y && a < b);
  };
  if (std::isfinite(row.drift.D_abs)) {
    std::partial_sort(order.begin(), order.begin() + static_cast<int64_t>(shown), order.end(),
                      more);
  }
  std::string text = fmt::format(
      "\nkeys that add most: {} {}, shift {}:{}, length {}\n{:>8} {:>10} {:>10} {:>10} {:>12}\n",
      row.recipe, LowerName(row.dtype), row.shift.one, row.shift.other, row.length, "key", "D_abs",
      "D_signed", "D_logit", "D_attention");
  for (size_t n = 0; n < shown; ++n) {
    const drift::KeyDrift& key = row.drift.keys[order[n]];
    text += fmt::format("{:>8} {:>10.4g} {:>10.4g} {:>10.4g} {:>12.4g}\n",
                        static_cast<int64_t>(order[n]) * report.one_in, key.D_abs, key.D_signed,
                        key.D_logit, key.D_attention);
  }
  return text;
}

std::string StagesText(const DriftReport& report) {
  std::string text = fmt::format(
      "\nstages: exact, while the others round; rounded, while the "
      "others are exact\n{}",
      RowHead(report));
  for (const DriftRow& row : report.stages) {
    const std::string what = fmt::format("  {} {}", row.exact ? "exact" : "rounded",
                                         drift::Name(row.exact ? *row.exact : *row.rounded));
    DriftRow named = row;
    named.recipe = row.recipe;
    text += RowText(report, named);
    text.back() = ' ';
    text += what + "\n";
  }
  return text;
}

std::string PositionsText(const DriftReport& report, const StagePositions& found) {
  std::string text = fmt::format(
      "\nleast position below {} at which a stage costs more than an ulp of a bf16 logit: {} {}\n"
      "{:>5} {:>14}",
      report.positions, found.recipe, LowerName(found.dtype), "pair", "frequency");
  for (const drift::RopeStage stage : drift::kRopeStages) {
    text += fmt::format(" {:>17}", drift::Name(stage));
  }
  text += "\n";
  for (size_t i = 0; i < found.pairs.size(); ++i) {
    text += fmt::format("{:>5} {:>14.6g}", i, found.pairs[i].inverse_frequency);
    for (const int64_t p : found.pairs[i].first_position) {
      text += fmt::format(" {:>17}", p < 0 ? "-" : fmt::format("{}", p));
    }
    text += "\n";
  }
  return text;
}

}  // namespace

std::string_view LowerName(DType dtype) {
  return dtype == DType::kBF16 ? "bf16" : dtype == DType::kF16 ? "f16" : "f32";
}

std::string DriftText(const DriftReport& report) {
  std::string text = fmt::format("input: {}\nrope: {}\n", report.input, report.rope);
  if (report.one_in > 1) text += fmt::format("taken: one token in {}\n", report.one_in);
  text += "\n" + RowHead(report);
  for (const DriftRow& row : report.rows) text += RowText(report, row);
  if (report.all_keys) {
    for (const DriftRow& row : report.rows) text += KeysText(report, row);
  }
  if (!report.stages.empty()) text += StagesText(report);
  for (const StagePositions& found : report.first_positions) text += PositionsText(report, found);
  return text;
}

std::string DriftJson(const DriftReport& report) {
  Json rows = Json::array();
  for (const DriftRow& row : report.rows) rows.push_back(RowJson(report, row));
  Json json = {{"schema", 1},   {"input", report.input},   {"rope", report.rope},
               {"S", report.S}, {"one_in", report.one_in}, {"rows", std::move(rows)}};
  if (!report.stages.empty()) {
    Json stages = Json::array();
    for (const DriftRow& row : report.stages) stages.push_back(RowJson(report, row));
    json["stages"] = std::move(stages);
    json["positions"] = report.positions;
    Json found = Json::array();
    for (const StagePositions& one : report.first_positions) found.push_back(PositionsJson(one));
    json["first_positions"] = std::move(found);
  }
  return json.dump(2) + "\n";
}

std::string DriftCsv(const DriftReport& report) {
  std::string text =
      "recipe,dtype,exact,rounded,shift_one,shift_other,length,key,D_abs,D_signed,D_logit,"
      "D_attention,D_output\n";
  const auto add = [&](const DriftRow& row, int64_t key, const std::vector<double>& numbers) {
    text += fmt::format("{},{},{},{},{},{},{},{}", row.recipe, LowerName(row.dtype),
                        row.exact ? drift::Name(*row.exact) : "",
                        row.rounded ? drift::Name(*row.rounded) : "", row.shift.one,
                        row.shift.other, row.length, key * report.one_in);
    for (const double x : numbers) text += fmt::format(",{}", x);
  };
  const auto add_row = [&](const DriftRow& row) {
    if (report.all_keys) {
      int64_t j = 0;
      for (const drift::KeyDrift& key : row.drift.keys) {
        add(row, j++, {key.D_abs, key.D_signed, key.D_logit, key.D_attention});
        text += ",\n";
      }
      return;
    }
    const drift::KeyDrift& key = row.drift.keys.front();
    add(row, report.key, {row.drift.D_abs, row.drift.D_signed, key.D_logit, key.D_attention});
    text += report.has_output ? fmt::format(",{}\n", row.drift.D_output) : ",\n";
  };
  for (const DriftRow& row : report.rows) add_row(row);
  for (const DriftRow& row : report.stages) add_row(row);
  return text;
}

}  // namespace bitanchor::tools
