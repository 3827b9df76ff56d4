// What all reports are made from, and the one for machines: --json, "schema" 1, which is
// lib/file/report_schema.json.
#ifndef BITANCHOR_LIB_FILE_REPORT_H_
#define BITANCHOR_LIB_FILE_REPORT_H_

#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/verdict/verdict.h"

namespace bitanchor {

// A verdict and what it is about. Verdict and capture must outlive it.
struct Judgement {
  const Verdict& verdict;
  const Capture& capture;
  std::string path;     // of the capture, as it was given
  std::string command;  // repeats the judgement; quoted for a shell
  std::string version;  // of the program
  std::string when;     // UTC, "2026-01-31T23:59:59"; the only thing that changes from run to run
  double seconds = 0;   // that judging took; this too
  bool allow_inconclusive = false;  // the user takes "inconclusive" for no failure
};

// An element's index in the axes of the tensor as the capture lays it out.
std::vector<int64_t> CaptureIndex(const ElementIndex& index, Layout layout);

// UTF-8 JSON text, two-space indented. Numbers that are not finite are strings ("inf", "-inf",
// "nan"). No time in it: the same judgement gives the same bytes.
std::string JsonReport(const Judgement& judgement);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_REPORT_H_
