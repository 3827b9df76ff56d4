#include "lib/file/github.h"

#include <fmt/format.h>

#include <string_view>
#include <vector>

#include "lib/file/markup.h"
#include "lib/file/report_text.h"

namespace bitanchor {
namespace {

// As @actions/core escapes: '%' everywhere, ':' and ',' in properties. Line breaks of the text are
// written out already, so that only Annotation makes any.
std::string CommandEscaped(std::string_view text, std::string_view special) {
  std::string out;
  for (const char c : Legible(text)) {
    if (special.find(c) != std::string_view::npos) {
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    } else {
      out += c;
    }
  }
  return out;
}

std::string Annotation(const char* level, const Judgement& judgement, const std::string& title,
                       const std::vector<std::string>& lines) {
  std::string message;
  for (const std::string& line : lines)
    message += (message.empty() ? "" : "%0A") + CommandEscaped(line, "%");
  return fmt::format("::{} title={},file={}::{}\n", level, CommandEscaped(title, "%:,"),
                     CommandEscaped(judgement.path, "%:,"), message);
}

// Text that Markdown shows as it is: every character that could mean something has a backslash, and
// what GitHub's HTML would take for a tag or an entity is one no longer.
std::string MarkdownEscaped(std::string_view text) {
  std::string out;
  for (const char c : Legible(text)) {
    if (c == '<') {
      out += "&lt;";
    } else if (c == '&') {
      out += "&amp;";
    } else {
      if (std::string_view("\\`*_{}[]()#+-.!|>~$@:=^\"'/").find(c) != std::string_view::npos)
        out += '\\';
      out += c;
    }
  }
  return out;
}

std::string OutputRow(const OutputVerdict& output, const char* mark, Layout layout) {
  const Census& c = output.census;
  const int64_t n = c.elements();
  const std::string worst = c.worst.empty() ? "" : IndexText(c.worst.front().index, layout);
  return fmt::format("| {}`{}` | {} | {} | {} | {} | {} | {} |\n", mark, output.name, Grouped(n),
                     Percent(c.exact, n), Percent(c.within, n),
                     Grouped(c.outside + c.nonfinite_mismatch), Short(c.max_share), worst);
}

std::string RuleRow(const RuleVerdict& rule) {
  return fmt::format("| {} {} | {} | {} | {} |\n", rule.passes ? "✅" : "❌",
                     MarkdownEscaped(rule.name), MarkdownEscaped(rule.output), Short(rule.measured),
                     Short(rule.limit));
}

std::string Bullets(const std::string& heading, const std::vector<std::string>& lines) {
  if (lines.empty()) return "";
  std::string text = "\n**" + heading + "**\n\n";
  for (const std::string& line : lines) text += "- " + MarkdownEscaped(line) + "\n";
  return text;
}

// A code block that its text cannot end: the fence is longer than any run of backquotes in it.
std::string CodeBlock(const std::string& text) {
  std::string fence = "```";
  const std::string legible = Legible(text);
  while (legible.find(fence) != std::string::npos) fence += '`';
  return fmt::format("\n{}sh\n{}\n{}\n", fence, legible, fence);
}

std::string Mark(Outcome outcome) {
  if (outcome == Outcome::kPass) return "✅ pass";
  return outcome == Outcome::kFail ? "❌ fail" : "⚠️ inconclusive";
}

}  // namespace

std::string GithubAnnotations(const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  const auto error = [&](const std::string& title, const std::vector<std::string>& message) {
    return Annotation("error", judgement, "bitanchor: " + title, message);
  };
  if (verdict.Result() == Outcome::kInconclusive) {
    return Annotation(judgement.allow_inconclusive ? "warning" : "error", judgement,
                      "bitanchor: inconclusive", InconclusiveBecause(verdict));
  }
  std::string lines;
  if (verdict.mode == "rule") {
    for (const RuleVerdict& rule : verdict.rules) {
      if (!rule.passes) lines += error(rule.output + " breaks " + rule.name, {RuleText(rule)});
    }
    return lines;
  }
  for (const OutputVerdict& output : verdict.outputs) {
    if (!output.Failed()) continue;
    std::vector<std::string> message = {Counts(output) + ", judged by " + JudgedBy(verdict)};
    const std::vector<WorstElement>& worst = output.census.worst;
    if (!verdict.causes.empty()) message.push_back("cause: " + CauseText(verdict.causes.front()));
    if (!worst.empty())
      message.push_back("worst: " + WorstText(worst.front(), judgement.capture.layout));
    lines += error(output.name + " is wrong", message);
  }
  return lines;
}

std::string GithubSummary(const Judgement& judgement) {
  const Verdict& verdict = judgement.verdict;
  const Capture& capture = judgement.capture;
  std::string text =
      fmt::format("\n### {}: {}\n\n{}\n", Mark(verdict.Result()), MarkdownEscaped(judgement.path),
                  MarkdownEscaped(Headline(verdict)));
  text += fmt::format("\n{}{}, judged by {}\n",
                      capture.kernel.empty() ? "" : MarkdownEscaped(capture.kernel) + "  \n",
                      MarkdownEscaped(ProblemLine(capture.problem)),
                      MarkdownEscaped(JudgedBy(verdict)));
  if (!verdict.outputs.empty()) {
    text +=
        "\n| output | elements | exact | within | wrong | worst share of the bound | at |\n"
        "| :-- | --: | --: | --: | --: | --: | :-- |\n";
    for (const OutputVerdict& output : verdict.outputs) {
      const char* mark = verdict.mode == "rule" ? "" : output.Failed() ? "❌ " : "✅ ";
      text += OutputRow(output, mark, capture.layout);
    }
  }
  if (!verdict.rules.empty()) {
    text += "\n| rule | output | measured | limit |\n| :-- | :-- | --: | --: |\n";
    for (const RuleVerdict& rule : verdict.rules) text += RuleRow(rule);
  }
  std::vector<std::string> causes, biases;
  for (const Cause& cause : verdict.causes) causes.push_back(CauseText(cause));
  for (const OutputVerdict& output : verdict.outputs) {
    for (const BiasFinding& finding : output.biases) {
      if (finding.fails) biases.push_back(output.name + ", " + BiasText(finding));
    }
  }
  const bool inconclusive = verdict.Result() == Outcome::kInconclusive;
  text += Bullets(inconclusive ? "Nothing is decided, because" : "What this problem cannot show",
                  InconclusiveBecause(verdict));
  text += Bullets("Cause", causes);
  text += Bullets("Where", verdict.signatures);
  text += Bullets("Biased", biases);
  text += Bullets("Not judged", verdict.not_judged);
  if (!verdict.would_miss.empty())
    text += "\n" + MarkdownEscaped(WouldMissText(verdict.would_miss)) + "\n";
  return text + CodeBlock(judgement.command);
}

}  // namespace bitanchor
