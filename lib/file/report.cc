#include "lib/file/report.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "lib/file/report_text.h"
#include "lib/file/schedule_file.h"

namespace bitanchor {
namespace {

using Json = nlohmann::ordered_json;

Json Number(double x) {
  if (std::isnan(x)) return "nan";
  if (std::isinf(x)) return x > 0 ? "inf" : "-inf";
  return x;
}

Json ProblemJson(const Capture& capture) {
  const AttentionProblem& problem = capture.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const MaskSpec& mask = problem.mask.spec;
  Json json = {{"kernel", capture.kernel},
               {"dtype", DTypeName(problem.dtype)},
               {"B", B},
               {"Sq", Sq},
               {"Skv", Skv},
               {"Hq", Hq},
               {"Hkv", Hkv},
               {"D", D},
               {"layout", Name(capture.layout)},
               {"mask",
                {{"rule", Name(mask.rule)},
                 {"causal", mask.causal},
                 {"window_keys", mask.window_keys ? Json(*mask.window_keys) : Json(nullptr)},
                 {"corner", Name(mask.corner)}}},
               {"softmax_scale", problem.softmax_scale}};
  if (problem.rope) json["rope_recipe"] = problem.rope->recipe;
  return json;
}

Json BiasesJson(const std::vector<BiasFinding>& findings) {
  Json biases = Json::array();
  for (const BiasFinding& finding : findings) {
    biases.push_back({{"witness", Name(finding.witness)},
                      {"head", finding.head ? Json(*finding.head) : Json(nullptr)},
                      {"bias", Number(finding.estimate.bias)},
                      {"sigma", Number(finding.estimate.sigma)},
                      {"rows", finding.estimate.clusters},
                      {"effect", Number(finding.estimate.effect)},
                      {"floor", Number(finding.floor.bias)},
                      {"effect_floor", Number(finding.floor.effect)},
                      {"fails", finding.fails}});
  }
  return biases;
}

// Of all rows together.
double LargestSigma(const std::vector<BiasFinding>& findings) {
  double largest = 0;
  for (const BiasFinding& finding : findings) {
    if (!finding.head && std::fabs(finding.estimate.sigma) > std::fabs(largest))
      largest = finding.estimate.sigma;
  }
  return largest;
}

Json BreakdownsJson(const std::vector<Breakdown>& breakdowns) {
  Json by = Json::object();
  for (const Breakdown& breakdown : breakdowns) {
    Json& groups = by[breakdown.by] = Json::array();
    for (const Group& group : breakdown.groups) {
      groups.push_back({{"value", group.value},
                        {"elements", group.elements},
                        {"wrong", group.wrong},
                        {"worst_share_of_bound", Number(group.share)}});
    }
  }
  return by;
}

// Elements by their distance from what was wanted: counts[n] below bin_ends[n], the last ones
// beyond every end.
Json ByUlpJson(const Census& census) {
  return {{"bin_ends", kUlpBinEnds}, {"counts", census.by_ulp}};
}

Json WouldMissJson(const std::vector<WouldMiss>& mutants) {
  Json json = Json::array();
  for (const WouldMiss& mutant : mutants)
    json.push_back({{"mutant", mutant.mutant}, {"caught", mutant.caught}});
  return json;
}

Json RulesJson(const std::vector<RuleVerdict>& rules) {
  Json json = Json::array();
  for (const RuleVerdict& rule : rules) {
    json.push_back({{"name", rule.name},
                    {"output", rule.output},
                    {"verdict", rule.passes ? "pass" : "fail"},
                    {"measured", Number(rule.measured)},
                    {"limit", Number(rule.limit)},
                    {"would_miss", WouldMissJson(rule.would_miss)}});
  }
  return json;
}

Json CausesJson(const std::vector<Cause>& causes) {
  Json json = Json::array();
  for (const Cause& cause : causes) {
    json.push_back({{"id", cause.id},
                    {"explains", Number(cause.explains)},
                    {"says", cause.says},
                    {"fix", cause.fix}});
  }
  return json;
}

Json SchedulesJson(const std::vector<ScheduleMatch>& schedules) {
  Json json = Json::array();
  for (const ScheduleMatch& match : schedules) {
    const Schedule& schedule = match.schedule;
    json.push_back({{"name", match.name},
                    {"unit", schedule.unit},
                    {"same_units", match.same_units},
                    {"tile_keys", match.tile.keys},
                    {"order", Name(schedule.order)},
                    {"exp_argument", Name(schedule.exp_argument)},
                    {"row_sum", Name(schedule.row_sum)},
                    {"fused_row_sum", schedule.fused_row_sum},
                    {"normalisation", Name(schedule.normalisation)},
                    {"rows", match.rows},
                    {"elements", match.elements},
                    {"reproduces", Number(match.reproduces)},
                    {"pinned", Number(match.pinned)},
                    {"rounded", Number(match.rounded)}});
  }
  return json;
}

Json OutputJson(const OutputVerdict& output, Layout layout) {
  const Census& census = output.census;
  Json worst = Json::array();
  for (const WorstElement& element : census.worst) {
    worst.push_back({{"index", CaptureIndex(element.index, layout)},
                     {"got", Number(element.got)},
                     {"want", Number(element.interval.want)},
                     {"low", Number(element.interval.low)},
                     {"high", Number(element.interval.high)},
                     {"share", Number(element.share)}});
  }
  return {{"name", output.name},
          {"elements", census.elements()},
          {"exact", census.exact},
          {"within", census.within},
          {"outside", census.outside},
          {"nonfinite_mismatch", census.nonfinite_mismatch},
          {"undetermined", census.undetermined},
          {"pinned", census.pinned},
          {"max_ulp", Number(census.max_ulp)},
          {"worst_share_of_bound", Number(census.max_share)},
          {"by_ulp", ByUlpJson(census)},
          {"bias", BiasesJson(output.biases)},
          {"bias_sigma", Number(LargestSigma(output.biases))},
          {"biased", output.Biased()},
          {"by", BreakdownsJson(output.by)},
          {"worst", worst}};
}

Json FrequencyJson(const FrequencyChoice& choice) {
  return {{"pair", choice.pair < 0 ? Json(nullptr) : Json(choice.pair)},
          {"ulp", choice.ulp},
          {"from_position", choice.from_position}};
}

}  // namespace

std::vector<int64_t> CaptureIndex(const ElementIndex& index, Layout layout) {
  const auto [b, s, h, d] = index;
  if (d < 0)
    return layout == Layout::kTHD ? std::vector<int64_t>{h, s} : std::vector<int64_t>{b, h, s};
  if (layout == Layout::kTHD) return {s, h, d};
  if (layout == Layout::kBHSD) return {b, h, s, d};
  return {b, s, h, d};
}

std::string JsonReport(const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  const Capture& capture = judgement.capture;
  Json outputs = Json::array();
  for (const OutputVerdict& output : verdict.outputs)
    outputs.push_back(OutputJson(output, capture.layout));
  Json frequencies = Json::array();
  for (const FrequencyChoice& choice : verdict.inverse_frequencies) {
    frequencies.push_back(FrequencyJson(choice));
  }
  const Json json = {{"schema", 1},
                     {"version", judgement.version},
                     {"verdict", Name(verdict.Result())},
                     {"inconclusive_because", InconclusiveBecause(verdict)},
                     {"first_out", verdict.FirstOut()},
                     {"judged_by", {{"mode", verdict.mode}, {"name", verdict.name}}},
                     {"problem", ProblemJson(capture)},
                     {"defaults", capture.defaults},
                     {"outputs", outputs},
                     {"rules", RulesJson(verdict.rules)},
                     {"causes", CausesJson(verdict.causes)},
                     {"schedules", SchedulesJson(verdict.schedules)},
                     {"signatures", verdict.signatures},
                     {"would_miss", WouldMissJson(verdict.would_miss)},
                     {"inverse_frequencies", frequencies},
                     {"not_judged", verdict.not_judged}};
  return json.dump(2, ' ', true, Json::error_handler_t::replace) + "\n";
}

}  // namespace bitanchor
