#include "tools/drift_html.h"

#include <fmt/format.h>

#include <vector>

#include "lib/file/html_page.h"
#include "lib/file/markup.h"
#include "tools/drift_svg.h"

namespace bitanchor::tools {
namespace {

using Cells = std::vector<std::string>;

// head, rows: text. The first column names its row.
std::string Table(const Cells& head, const std::vector<Cells>& rows) {
  std::string table = "<div class=\"scroll\"><table><thead><tr>";
  for (const std::string& cell : head) table += "<th>" + MarkupEscaped(cell) + "</th>";
  table += "</tr></thead><tbody>\n";
  for (const Cells& row : rows) {
    table += "<tr><th scope=\"row\">" + MarkupEscaped(row.front()) + "</th>";
    for (size_t n = 1; n < row.size(); ++n) table += "<td>" + MarkupEscaped(row[n]) + "</td>";
    table += "</tr>\n";
  }
  return table + "</tbody></table></div>\n";
}

// `with_stage`: of --stages.
std::string Rows(const DriftReport& report, const std::vector<DriftRow>& rows, bool with_stage) {
  if (rows.empty()) return "";
  Cells head = {"recipe",
                "dtype",
                "shifts",
                "length",
                "D_abs",
                "D_signed",
                fmt::format("D_logit[{}]", report.key * report.one_in),
                "D_output"};
  if (with_stage) head.emplace_back("stage");
  std::vector<Cells> table;
  for (const DriftRow& row : rows) {
    const std::string output =
        report.has_output ? fmt::format("{:.4g}", row.drift.D_output) : "\u2013";
    table.push_back({row.recipe, std::string(LowerName(row.dtype)),
                     fmt::format("{}:{}", row.shift.one, row.shift.other),
                     fmt::to_string(row.length), fmt::format("{:.4g}", row.drift.D_abs),
                     fmt::format("{:.4g}", row.drift.D_signed),
                     fmt::format("{:.4g}", row.drift.keys.front().D_logit), output});
    if (row.exact) table.back().push_back(fmt::format("{} exact", drift::Name(*row.exact)));
    if (row.rounded) table.back().push_back(fmt::format("{} alone", drift::Name(*row.rounded)));
  }
  return Table(head, table);
}

// Folded, a table for each recipe and dtype: pairs down, stages across.
std::string Positions(const DriftReport& report) {
  std::string tables;
  Cells head = {"pair", "frequency"};
  for (const drift::RopeStage stage : drift::kRopeStages) head.emplace_back(drift::Name(stage));
  for (const StagePositions& found : report.first_positions) {
    std::vector<Cells> rows;
    for (const drift::StageCosts& pair : found.pairs) {
      rows.push_back({fmt::to_string(rows.size()), fmt::format("{:.6g}", pair.inverse_frequency)});
      for (const int64_t p : pair.first_position) {
        rows.back().push_back(p < 0 ? "\u2013" : fmt::to_string(p));
      }
    }
    tables += fmt::format("<details><summary>{} {}</summary>\n{}</details>\n",
                          MarkupEscaped(found.recipe), LowerName(found.dtype), Table(head, rows));
  }
  return tables;
}

}  // namespace

std::string DriftHtml(const DriftReport& report) {
  std::string page = HtmlBegin("RoPE drift: " + report.input, "plain");
  page += fmt::format(
      "<header>\n<p class=\"brand\">bitanchor drift</p>\n<h1>RoPE drift</h1>\n"
      "<p class=\"lead\">{}</p>\n<p class=\"kernel\">RoPE: {}{}</p>\n</header>\n<main>\n",
      MarkupEscaped(report.input), MarkupEscaped(report.rope),
      report.one_in > 1 ? fmt::format("; one token in {}", report.one_in) : "");
  page += HtmlSection("How far attention moves", Rows(report, report.rows, false));
  page += HtmlSection("Drawn", "<figure>" + DriftSvg(report) + "</figure>\n");
  page += HtmlSection("Stages: each exact while the others round, and each alone rounded",
                      Rows(report, report.stages, true));
  page += HtmlSection(
      fmt::format("Least position below {} at which a stage costs more than an ulp of a bf16 logit",
                  report.positions),
      Positions(report));
  page += HtmlSection("Taken", HtmlList(report.taken));
  page += HtmlSection("Again", "<pre>" + MarkupEscaped(report.command) + "</pre>\n");
  return page + "</main>\n" + HtmlEnd("bitanchor " BITANCHOR_VERSION);
}

}  // namespace bitanchor::tools
