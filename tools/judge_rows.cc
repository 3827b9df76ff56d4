#include "tools/judge_rows.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

#include "lib/number/philox.h"

namespace bitanchor::tools {
namespace {

constexpr int64_t kRowsPerTask = 16;

// N different rows out of `total`, ascending (Floyd's sampling, drawn by Philox).
std::vector<int64_t> SampleRows(int64_t total, const SampleOptions& sample) {
  std::set<int64_t> rows;
  for (int64_t top = total - sample.rows; top < total; ++top) {
    const auto words =
        Philox4x32({static_cast<uint32_t>(top), static_cast<uint32_t>(top >> 32), 0, 0},
                   {static_cast<uint32_t>(sample.seed), static_cast<uint32_t>(sample.seed >> 32)});
    const uint64_t draw = (uint64_t{words[1]} << 32 | words[0]) % static_cast<uint64_t>(top + 1);
    if (!rows.insert(static_cast<int64_t>(draw)).second) rows.insert(top);
  }
  return {rows.begin(), rows.end()};
}

}  // namespace

std::vector<RowBlock> RowBlocks(int64_t B, int64_t H, int64_t S, const SampleOptions& sample) {
  std::vector<RowBlock> blocks;
  const int64_t total = B * H * S;
  if (sample.rows > 0 && sample.rows < total) {
    for (const int64_t row : SampleRows(total, sample)) {
      const int64_t head = row / S;
      blocks.push_back({head / H, head % H, row % S, 1});
    }
    return blocks;
  }
  for (int64_t head = 0; head < B * H; ++head) {
    for (int64_t s0 = 0; s0 < S; s0 += kRowsPerTask) {
      blocks.push_back({head / H, head % H, s0, std::min(kRowsPerTask, S - s0)});
    }
  }
  return blocks;
}

float NaturalLse(const LseSpec& spec, float got, float scale, bool row_is_empty) {
  if (row_is_empty) {
    const bool as_said = std::isnan(spec.empty) ? std::isnan(got) : got == spec.empty;
    const float minus_inf = -std::numeric_limits<float>::infinity();
    return as_said ? minus_inf : got == minus_inf ? std::numeric_limits<float>::quiet_NaN() : got;
  }
  double value = got;
  if (spec.base == LseBase::k2) value *= 0.69314718055994530942;
  if (!spec.scaled) value *= scale;
  return static_cast<float>(value);
}

double LseConversion(const LseSpec& spec) {
  return spec.base == LseBase::kE && spec.scaled ? 0 : 0x1p-21;
}

void WidenForConversion(const LseSpec& spec, Interval& lse) {
  if (!std::isfinite(lse.want)) return;
  const double more = LseConversion(spec) * std::fabs(lse.want);
  lse.low = RoundToF32(lse.low - more);
  lse.high = RoundToF32(lse.high + more);
}

}  // namespace bitanchor::tools
