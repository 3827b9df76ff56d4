// A verdict for machines: the product's --json report, "schema" 1.
#ifndef BITANCHOR_LIB_FILE_REPORT_H_
#define BITANCHOR_LIB_FILE_REPORT_H_

#include <string>
#include <vector>

#include "lib/problem/attention_problem.h"
#include "lib/verdict/verdict.h"

namespace bitanchor {

// An element's index in the axes of the tensor as the capture lays it out.
std::vector<int64_t> CaptureIndex(const ElementIndex& index, Layout layout);

// UTF-8 JSON text, two-space indented. Numbers that are not finite are strings ("inf", "-inf",
// "nan").
std::string JsonReport(const Verdict& verdict, const AttentionProblem& problem, Layout layout,
                       const std::string& kernel, const std::vector<std::string>& defaults);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_REPORT_H_
