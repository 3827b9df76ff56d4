#include "lib/file/html_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "lib/file/html_charts.h"
#include "lib/file/html_page.h"
#include "lib/file/markup.h"
#include "lib/file/mask_svg.h"
#include "lib/file/report_text.h"
#include "lib/problem/blocks.h"
#include "lib/recipe/attention_recipe.h"
#include "lib/recipe/contract.h"
#include "lib/recipe/mistake.h"
#include "lib/recipe/schedule.h"
#include "lib/verdict/rule.h"

namespace bitanchor {
namespace {

int64_t Wrong(const Census& census) { return census.outside + census.nonfinite_mismatch; }

std::string Header(const Judgement& judgement) {
  const Outcome outcome = judgement.verdict.Result();
  const char* word = outcome == Outcome::kPass   ? "✓ Pass"
                     : outcome == Outcome::kFail ? "✗ Fail"
                                                 : "? Inconclusive";
  const std::string& kernel = judgement.capture.kernel;
  return fmt::format(
      "<header>\n<p class=\"brand\">bitanchor · {}</p>\n<h1>{}</h1>\n<p class=\"lead\">{}</p>\n{}"
      "</header>\n",
      MarkupEscaped(judgement.path), word, MarkupEscaped(Headline(judgement.verdict)),
      kernel.empty() ? "" : "<p class=\"kernel\">Kernel: " + MarkupEscaped(kernel) + "</p>\n");
}

std::string Causes(const std::vector<Cause>& causes) {
  std::string cards;
  for (const Cause& cause : causes) {
    cards += fmt::format(
        "<div class=\"card\"><p><strong>{}</strong></p>\n<p>{}</p>\n<p class=\"muted\">{} explains "
        "{:.3g}% of the sampled elements</p></div>\n",
        MarkupEscaped(cause.says), MarkupEscaped(cause.fix), MarkupEscaped(cause.id),
        100 * cause.explains);
  }
  return HtmlSection(causes.size() == 1 ? "What is wrong" : "What may be wrong, best first", cards);
}

// The bar's colours in words, with what they are called.
std::string CensusKey(const Verdict& verdict) {
  const bool sets = IsReplayOfSets(verdict), replay = verdict.mode == "replay" && !sets;
  std::string key = KeyItem("s-exact", sets     ? "the only bits possible"
                                       : replay ? "the same bits"
                                                : "exact: the right rounding");
  if (!replay) key += KeyItem("s-within", sets ? "one of several possible" : "within the interval");
  const auto any = [&](auto count) {
    return std::any_of(verdict.outputs.begin(), verdict.outputs.end(),
                       [&](const OutputVerdict& output) { return count(output.census) > 0; });
  };
  if (any([](const Census& c) { return c.undetermined; }))
    key += KeyItem("s-undetermined", "undetermined");
  if (any(Wrong)) key += KeyItem("s-wrong", "wrong");
  return "<p class=\"key\">" + key + "</p>\n";
}

std::string Overview(const Verdict& verdict) {
  const bool replay = verdict.mode == "replay" && !IsReplayOfSets(verdict);
  if (verdict.outputs.empty()) return "";
  std::string rows;
  for (const OutputVerdict& output : verdict.outputs) {
    const Census& c = output.census;
    const std::string name = MarkupEscaped(output.name);
    rows += fmt::format(
        "<tr><th scope=\"row\"><a href=\"#{0}\">{0}</a></th><td class=\"wide\">{1}</td>"
        "<td{2}>{3}</td><td>{4}</td><td>{5}</td><td class=\"roomy\">{6}</td></tr>\n",
        name, CensusBar(c), output.Failed() ? " class=\"wrong\"" : "",
        output.Biased() && !c.Failed() ? "biased" : Grouped(Wrong(c)),
        Percent(c.exact, c.elements()), Short(replay ? c.max_ulp : c.max_share),
        Grouped(c.elements()));
  }
  const std::string table = fmt::format(
      "<div class=\"scroll\"><table class=\"overview\"><thead><tr><th></th><th></th><th>wrong</th>"
      "<th>{}</th><th>{}</th><th class=\"roomy\">elements</th></tr></thead><tbody>\n{}</tbody>"
      "</table></div>\n",
      replay ? "same bits" : "exact", replay ? "worst, ulp" : "worst share", rows);
  return HtmlSection("What was judged", table + CensusKey(verdict));
}

// A number in two cells, so that a column of them stands point under point.
std::string NumberCells(double x, int digits = 8) {
  const std::string text = fmt::format("{:.{}g}", x, digits);
  const size_t point = std::min(text.find('.'), text.size());
  return "<td>" + text.substr(0, point) + "</td><td class=\"fraction\">" + text.substr(point) +
         "</td>";
}

std::string Worst(const Census& census, Layout layout, bool replay) {
  if (census.worst.empty()) return "";
  std::string rows;
  for (const WorstElement& e : census.worst) {
    const double sign = e.got < e.interval.want ? -1 : 1;
    rows += fmt::format("<tr><td>{}</td>{}{}", IndexText(e.index, layout), NumberCells(e.got),
                        NumberCells(e.interval.want));
    if (!replay) {
      rows += NumberCells(e.interval.low) + NumberCells(e.interval.high);
      rows += fmt::format("<td{}>{:.3g}</td><td>{}</td>", e.share > 1 ? " class=\"wrong\"" : "",
                          e.share, IntervalStrip(sign * e.share));
    }
    rows += "</tr>\n";
  }
  const char* more = replay ? ""
                            : "<th colspan=\"2\">least allowed</th><th colspan=\"2\">most "
                              "allowed</th><th>share</th><th></th>";
  return fmt::format(
      "<div class=\"more\"><h3>Worst elements</h3><div class=\"scroll\"><table{}><thead><tr>"
      "<th>index</th><th colspan=\"2\">got</th><th colspan=\"2\">want</th>{}</tr></thead><tbody>\n"
      "{}</tbody></table></div></div>\n",
      replay ? " class=\"narrow\"" : "", more, rows);
}

std::string Biases(const std::vector<BiasFinding>& findings) {
  if (findings.empty()) return "";
  std::string rows;
  for (const BiasFinding& f : findings) {
    rows += fmt::format(
        "<tr><td>{}</td><td>{}</td><td>{:+.3g}</td><td>{:+.1f}</td><td>{:.2g}</td>"
        "<td class=\"{}\">{}</td></tr>\n",
        Name(f.witness), f.head ? std::to_string(*f.head) : "all", f.estimate.bias,
        f.estimate.sigma, AllowedBias(f), f.fails ? "wrong" : "muted", f.fails ? "biased" : "no");
  }
  return "<div class=\"more\"><h3>Bias <small>errors that lean one way; units of roundoff u</small>"
         "</h3><div class=\"scroll\"><table "
         "class=\"narrow\"><thead><tr><th>witness</th><th>head</th><th>bias, "
         "u</th>"
         "<th>sigma</th><th>allowed, u</th><th></th></tr></thead><tbody>\n" +
         rows + "</tbody></table></div></div>\n";
}

// Outputs with a row per key, and with a row per key head.
RowAxes AxesOf(const std::string& output, const AttentionShape& shape) {
  if (output == "dk" || output == "dv" || output == "k_rope")
    return {"key", "key head", shape.Skv, shape.Hkv};
  return {"query", "query head", shape.Sq, shape.Hq};
}

std::string Figure(const std::string& number, const char* says, bool wrong = false) {
  return fmt::format("<div><b{}>{}</b> <span>{}</span></div>\n", wrong ? " class=\"wrong\"" : "",
                     number, says);
}

// By what rows and elements have, where something is wrong; heads and blocks are in the heat map.
std::string Breakdowns(const OutputVerdict& output) {
  std::string charts;
  for (const Breakdown& breakdown : output.by) {
    const bool mapped =
        breakdown.by == "head" || breakdown.by == "query_block" || breakdown.by == "key_block";
    if (!mapped) charts += GroupColumns(breakdown);
  }
  if (charts.empty() || !output.census.Failed()) return "";
  return "<div class=\"more\"><h3>How much is wrong</h3><div class=\"thirds\">" + charts +
         "</div></div>\n";
}

// What there is to see of an output, and a sentence where there is nothing to see.
std::string Output(const OutputVerdict& output, const Judgement& judgement) {
  const Census& c = output.census;
  const int64_t n = c.elements();
  const bool replay = judgement.verdict.mode == "replay" && !IsReplayOfSets(judgement.verdict);
  const std::string name = MarkupEscaped(output.name);
  const std::string biases = Biases(output.biases);
  if (c.exact == n) {
    const char* why = replay          ? "every one has the bits wanted"
                      : c.pinned == n ? "every one is the one number that is admitted"
                                      : "every one is the right rounding";
    return fmt::format(
        "<section class=\"quiet\" id=\"{0}\">\n<h2>{0} <small>{1} elements: "
        "{2}</small></h2>\n{3}</section>\n",
        name, Grouped(n), n == 0 ? "nothing to judge" : why, biases);
  }
  std::string figures = Figure(Percent(c.exact, n), replay ? "the same bits" : "exact");
  if (!replay) figures += Figure(Percent(c.within, n), "within");
  figures += Figure(Grouped(c.outside), replay ? "other bits" : "outside", c.outside > 0);
  if (c.nonfinite_mismatch > 0)
    figures += Figure(Grouped(c.nonfinite_mismatch), "wrongly (not) finite", true);
  if (c.undetermined > 0) figures += Figure(Grouped(c.undetermined), "undetermined");
  figures += Figure(Short(c.max_ulp), "ulp the largest error");
  if (!replay)
    figures += Figure(Short(c.max_share), "worst share of what is allowed", c.max_share > 1);
  if (!replay && c.pinned > 0)
    figures += Figure(PinnedShare(c.pinned, n), "with one admissible number");
  const std::string heat = HeatMap(c, AxesOf(output.name, judgement.capture.problem.shape), replay);
  const bool first = judgement.verdict.FirstOut() == output.name;
  return fmt::format(
      "<section id=\"{}\">\n<h2>{} <small>{} elements{}</small></h2>\n<div "
      "class=\"figures\">{}</div>\n"
      "<div class=\"halves\">\n<div><h3>Distance from what was wanted <small>in "
      "ulp</small></h3>{}</div>\n"
      "<div><h3>Where</h3>{}</div>\n</div>\n{}{}{}</section>\n",
      name, name, Grouped(n), first ? " · the first stage that is out: look here first" : "",
      figures, UlpHistogram(c), heat, Breakdowns(output),
      Worst(c, judgement.capture.layout, replay), biases);
}

// What the way of judging says of itself.
std::string_view ExplainsItself(const Verdict& verdict) {
  const Contract* contract = FindContract(verdict.name);
  const AttentionRecipe* recipe = FindAttentionRecipe(verdict.name);
  const Schedule* schedule = FindSchedule(verdict.name);
  if (verdict.mode == "replay" && schedule != nullptr) return schedule->says;
  if (verdict.mode == "contract" && contract != nullptr) return contract->says;
  return verdict.mode == "replay" && recipe != nullptr ? recipe->says : "";
}

std::string MaskPicture(const Mask& mask) {
  const int64_t block = PictureBlock(std::max(mask.Sq, mask.Skv));
  const double pairs = static_cast<double>(mask.Sq) * static_cast<double>(mask.Skv);
  const double visible = static_cast<double>(CountVisible(mask, 0));
  return fmt::format(
      "<figure>{}<figcaption>The mask{}: {:.3g}% of pairs are visible. Queries down, keys across, "
      "blocks of {} by {}.</figcaption><p class=\"key\">{}{}</p></figure>\n",
      MaskSvg(mask, 0, block), mask.B > 1 ? fmt::format(" of batch 0 of {}", mask.B) : "",
      100 * visible / pairs, block, block, KeyItem("mask-full", "all visible"),
      KeyItem("mask-partial", "some"));
}

std::string Problem(const Judgement& judgement) {
  const Capture& capture = judgement.capture;
  const AttentionProblem& problem = capture.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  std::string facts;
  const auto fact = [&](const char* name, const std::string& says) {
    facts += fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, MarkupEscaped(says));
  };
  const std::string_view says = ExplainsItself(judgement.verdict);
  fact("Judged by", JudgedBy(judgement.verdict) + (says.empty() ? "" : ": " + std::string(says)));
  fact("Type, layout", fmt::format("{}, {}", DTypeName(problem.dtype), Name(capture.layout)));
  fact("Batch", Grouped(B));
  fact("Tokens",
       Sq == Skv ? Grouped(Sq) : fmt::format("{} queries, {} keys", Grouped(Sq), Grouped(Skv)));
  fact("Heads", Hq == Hkv ? fmt::format("{} of {}", Hq, D)
                          : fmt::format("{} query, {} key, of {}", Hq, Hkv, D));
  fact("Mask", InWords(problem.mask));
  fact("RoPE", problem.rope ? problem.rope->recipe : "none");
  fact("Scale", fmt::format("{:.9g}", problem.softmax_scale));
  if (!capture.defaults.empty())
    fact("Taken", fmt::format("{}", fmt::join(capture.defaults, "; ")));
  return HtmlSection("The problem", "<div class=\"problem\"><dl>\n" + facts + "</dl>\n" +
                                        MaskPicture(problem.mask) + "</div>\n");
}

std::string Paragraph(const std::string& text) {
  return text.empty() ? "" : "<p>" + MarkupEscaped(text) + "</p>\n";
}

std::string Rules(const Verdict& verdict) {
  if (verdict.rules.empty()) return "";
  std::string rows, sayings;
  for (const RuleVerdict& rule : verdict.rules) {
    const Rule* known = FindRule(rule.name);
    rows += fmt::format(
        "<tr><th scope=\"row\">{}</th><td class=\"text\">{}</td><td class=\"{}\">{}</td>{}{}"
        "<td class=\"text\">{}</td></tr>\n",
        MarkupEscaped(rule.name), MarkupEscaped(rule.output), rule.passes ? "" : "wrong",
        rule.passes ? "passes" : "fails", NumberCells(rule.measured, 4), NumberCells(rule.limit, 4),
        known == nullptr ? "" : MarkupEscaped(known->measures));
    if (!rule.would_miss.empty()) {
      sayings += Paragraph(
          fmt::format("{} of {}: {}", rule.name, rule.output, WouldMissText(rule.would_miss)));
    }
  }
  return HtmlSection(
      verdict.mode == "rule" ? "What the rules say" : "What other tolerances say of it",
      "<div class=\"scroll\"><table><thead><tr><th>rule</th><th class=\"text\">output</th>"
      "<th></th><th colspan=\"2\">measured</th><th colspan=\"2\">limit</th>"
      "<th class=\"text\">what is measured</th></tr></thead><tbody>\n" +
          rows + "</tbody></table></div>\n" + sayings);
}

// How many faults the check would see, and what those are that it would not.
std::string Missed(const std::vector<WouldMiss>& mutants) {
  std::vector<std::string> missed;
  for (const WouldMiss& mutant : mutants) {
    const Mistake* known = FindMistake(mutant.mutant);
    if (!mutant.caught && known != nullptr)
      missed.push_back(fmt::format("{}: {}", mutant.mutant, known->says));
  }
  return Paragraph(WouldMissText(mutants)) + HtmlList(missed);
}

std::string Frequencies(const std::vector<FrequencyChoice>& choices) {
  std::vector<std::string> texts;
  for (const FrequencyChoice& choice : choices) texts.push_back(FrequencyText(choice));
  return HtmlSection("Inverse frequencies that are not the recipe's", HtmlList(texts));
}

}  // namespace

std::string HtmlReport(const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  const std::string_view outcome = Name(verdict.Result());
  std::string page = HtmlBegin(fmt::format("{}: {}", outcome, judgement.path), outcome);
  page += Header(judgement) + "<main>\n";
  page += HtmlSection(verdict.Result() == Outcome::kInconclusive ? "Why nothing is decided"
                                                                 : "What this problem cannot show",
                      HtmlList(InconclusiveBecause(verdict)));
  page += Causes(verdict.causes);
  page += HtmlSection("Where the wrong elements are", HtmlList(verdict.signatures));
  page += Overview(verdict) + Problem(judgement);
  for (const OutputVerdict& output : verdict.outputs) page += Output(output, judgement);
  page += Frequencies(verdict.inverse_frequencies);
  page += HtmlSection("Not judged", HtmlList(verdict.not_judged));
  page += Rules(verdict);
  page += HtmlSection("What this check would have caught", Missed(verdict.would_miss));
  page += HtmlSection("Again", "<pre>" + MarkupEscaped(judgement.command) + "</pre>\n");
  page += "</main>\n" +
          HtmlEnd(fmt::format("bitanchor {} · {} UTC · {:.1f} s", MarkupEscaped(judgement.version),
                              MarkupEscaped(judgement.when), judgement.seconds));
  return page;
}

}  // namespace bitanchor
