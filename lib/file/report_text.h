// A verdict in words: the sentences that all reports for people share. Plain text, one line each;
// what comes from the capture in it is as it stands there, so escape it for where it goes.
#ifndef BITANCHOR_LIB_FILE_REPORT_TEXT_H_
#define BITANCHOR_LIB_FILE_REPORT_TEXT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/tensor/tensor_view.h"
#include "lib/verdict/verdict.h"

namespace bitanchor {

std::string Grouped(int64_t count);              // "98,304"
std::string Percent(int64_t part, int64_t all);  // "34.6%"; "0%" of nothing
// Four digits, and "100%" of all alone: "99.96%".
std::string PinnedShare(int64_t part, int64_t all);
std::string Short(double x);                   // four digits; "inf", "nan"
std::string JudgedBy(const Verdict& verdict);  // "contract flash-bf16"
// Whether answers were compared with sets of bits that may be, a schedule's, not with one answer.
bool IsReplayOfSets(const Verdict& verdict);
std::string ProblemLine(const AttentionProblem&);  // "BF16 B 1 Sq 384 ..., mask anchor, causal"

// The whole verdict in one sentence.
std::string Headline(const Verdict& verdict);

// Verdict::cannot_tell, and outputs in which nothing could be decided where that is the reason.
std::vector<std::string> InconclusiveBecause(const Verdict& verdict);

// "12 of 98,304 elements outside, 1 wrongly (not) finite; biased: gain +0.4 u, 721 sigma".
std::string Counts(const OutputVerdict& output);
// In units of u: both floors as one on the bias itself.
double AllowedBias(const BiasFinding& finding);
std::string BiasText(const BiasFinding& finding);  // "gain of head 3: +0.4 u (+721 sigma; ...)"
// "[0, 17, 3, 5]", in the axes of the tensor as the capture lays it out.
std::string IndexText(const ElementIndex& index, Layout layout);
// "[0, 17, 3, 5] got 1 want 2, admissible 1.99 to 2.01 (12 times what is allowed)".
std::string WorstText(const WorstElement& element, Layout layout);
std::string RuleText(const RuleVerdict& rule);  // "ggml of o: sum of ... 0.1, limit 0.01"
std::string CauseText(const Cause& cause);      // what it says, how much it explains, the fix
std::string FrequencyText(const FrequencyChoice& choice);

// "This check would have caught 19 of 21 faults put into the right answer of this problem. It would
// have missed: ..."; empty for none.
std::string WouldMissText(const std::vector<WouldMiss>& mutants);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_REPORT_TEXT_H_
