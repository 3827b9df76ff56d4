// The rows of `bitanchor drift` as series of a chart: their names and their points.
#ifndef BITANCHOR_TOOLS_DRIFT_SERIES_H_
#define BITANCHOR_TOOLS_DRIFT_SERIES_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "lib/drift/attention_drift.h"
#include "lib/file/line_chart.h"
#include "lib/tensor/dtype.h"
#include "tools/drift_report.h"

namespace bitanchor::tools {

using RecipeName = std::pair<std::string, DType>;
using RecipeNames = std::vector<RecipeName>;

// By dtype: "hf-llama, apex bf16; meta-llama f32"; exact without one where it is the same in all,
// as it is if the input is exact in all. Of each at most `most` recipes; the others are counted:
// "hf-llama, apex +3 bf16".
std::string Joined(const RecipeNames& names, size_t most, bool exact_is_one);

struct NamedSeries {
  ChartSeries series;
  RecipeNames names;  // of whom
};

// Series of the same points become one, with all their names.
std::vector<ChartSeries> Merged(const std::vector<NamedSeries>& lines);

void SortByX(ChartSeries& series);

// Adds the first keys as they are, then means of neighbours, twelve to a factor of ten. Key n is
// token n one_in.
void SmoothKeys(const std::vector<drift::KeyDrift>& keys, double drift::KeyDrift::*quantity,
                int64_t one_in, ChartSeries& series);

// A line for each stage that costs an ulp somewhere: the least position by the pair's frequency.
std::vector<ChartSeries> StageLines(const StagePositions& found);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_DRIFT_SERIES_H_
