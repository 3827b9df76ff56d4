// Which GPU's schedule made these bits: known schedules and their variants are replayed on some
// rows.
#ifndef BITANCHOR_TOOLS_REPLAY_SEARCH_H_
#define BITANCHOR_TOOLS_REPLAY_SEARCH_H_

#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/replay/special_functions.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"

namespace bitanchor::tools {

struct ReplaySearch {
  // That may have made every element of the rows compared, those nearest to correctly rounded
  // special functions first; where none may, the nearest alone. Empty: nothing was searched.
  std::vector<ScheduleMatch> matches;
  // Schedules: that the search is over, and that had to be replayed for it.
  int64_t searched = 0, replayed = 0;
  std::string rows;  // "16 rows of 300 to 1,009 keys"
  // Those that made all of these rows were replayed on all rows of some heads besides.
  int64_t confirmed = 0, heads = 0;
  std::string not_searched;  // why, where it makes sense to say so

  bool Found() const { return !matches.empty() && matches.front().reproduces == 1; }
  // Whether the rows can tell tiles apart: the best have all the same.
  bool Tells() const;
};

// `functions`: of the GPU, sets where nothing is known. Looks at o, and at lse where it is natural
// and scaled.
ReplaySearch SearchSchedules(const Capture& capture, const replay::SpecialFunctions& functions,
                             const simd::EngineOptions& options);

// What was found, in lines.
std::string SearchText(const ReplaySearch& search);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_REPLAY_SEARCH_H_
