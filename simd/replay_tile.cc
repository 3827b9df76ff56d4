#include "simd/replay_tile.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "lib/matrix_unit/dot_add.h"
#include "lib/replay/flushed_arithmetic.h"

namespace bitanchor::simd {
namespace {

using replay::Admissible;

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kPanelSize = kPanelRows * kPanelColumns;

int64_t UpToVector(int64_t count) { return (count + 15) / 16 * 16; }

// The greater, NaN being passed over.
float Greater(float x, float y) {
  if (std::isnan(x)) return y;
  return y > x ? y : x;
}

// One end of the sums of a row. p: flushed numbers of at least +0.
struct EndOfSums {
  const Schedule& schedule;
  bool first_tile;
  float f;

  // l of the tiles before and the first weight of this one.
  float First(float l, float p) const {
    if (first_tile) return p;
    if (schedule.fused_row_sum) return replay::Flush(std::fma(l, f, p));
    return replay::Flush(replay::Flush(l * f) + p);
  }
  void Add(const float* p, int64_t count, float* l) const {
    if (schedule.row_sum == RowSum::kAscending) {
      l[0] = First(l[0], p[0]);
      for (int64_t j = 1; j < count; ++j) l[0] += p[j];
      return;
    }
    float sum[4];
    for (int t = 0; t < 4; ++t) sum[t] = First(l[t], p[2 * t]) + p[2 * t + 1];
    for (int64_t j = 8; j < count; j += 8) {
      for (int t = 0; t < 4; ++t) sum[t] = (sum[t] + p[j + 2 * t]) + p[j + 2 * t + 1];
    }
    std::copy_n(sum, 4, l);
  }
};

bool IsInfiniteRow(const float* o, int64_t count) {
  return std::any_of(o, o + count, [](float x) { return std::isinf(x); });
}

}  // namespace

void DefineReplay(const ReplayPlan& plan, const replay::Sequence& sequence, int64_t head, int64_t n,
                  ScheduledAnswer& answer) {
  const AttentionShape& shape = plan.problem.shape;
  const DType dtype = plan.problem.dtype;
  const replay::ScheduledRow row =
      replay::AnswerOf(plan.problem, plan.schedule, plan.functions, sequence, head, n);
  const int64_t token = sequence.queries[static_cast<size_t>(n)];
  const size_t out =
      static_cast<size_t>(((sequence.b * shape.Sq + token) * shape.Hq + head) * shape.D);
  for (size_t d = 0; d < row.o.size(); ++d) {
    StoreRounded(dtype, reinterpret_cast<std::byte*>(&answer.o_low[out + d]), row.o[d].low);
    StoreRounded(dtype, reinterpret_cast<std::byte*>(&answer.o_high[out + d]), row.o[d].high);
  }
  const size_t at = static_cast<size_t>((sequence.b * shape.Hq + head) * shape.Sq + token);
  answer.lse_low[at] = Canonical(row.lse.low);
  answer.lse_high[at] = Canonical(row.lse.high);
}

ReplayTile::ReplayTile(const ReplayPlan& plan, const replay::Sequence& sequence, int64_t head,
                       ReplayScratch& scratch)
    : plan_(plan),
      sequence_(sequence),
      head_(head),
      key_head_(plan.problem.shape.KeyHead(head)),
      D_(plan.problem.shape.D),
      panels_((D_ + kPanelColumns - 1) / kPanelColumns),
      s_(scratch),
      scores_(plan.model, plan.model.f32, plan.unit, scratch.scores_panel),
      output_(plan.model, plan.unit, scratch.hull) {}

void ReplayTile::Run(std::span<const int64_t> queries, ScheduledAnswer& answer) {
  queries_ = queries;
  const int64_t rows = static_cast<int64_t>(queries.size());
  const size_t o_size = static_cast<size_t>(panels_ * kPanelSize);
  std::fill_n(s_.o_low.Reserve(o_size), o_size, 0.0f);
  s_.o_high.Reserve(o_size);
  s_.scores.Reserve(static_cast<size_t>(kPanelProducts / kPanelColumns * kPanelSize));
  s_.weights.Reserve(static_cast<size_t>(kPanelRows * kPanelProducts));
  s_.keys.Reserve(static_cast<size_t>(kPanelProducts * kPanelColumns));
  s_.weights_high.Reserve(static_cast<size_t>(kPanelProducts));
  for (auto* row : {&s_.row, &s_.x, &s_.p_low, &s_.p_high}) {
    row->Reserve(static_cast<size_t>(kPanelProducts));
  }
  s_.rows.assign(queries.size(), {kNaN, {}, {}});
  s_.lost.assign(queries.size(), false);
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t token = sequence_.queries[static_cast<size_t>(queries[static_cast<size_t>(i)])];
    scores_.UnpackA(i, plan_.problem.q.Row(sequence_.b, token, head_), D_);
  }
  const int64_t tiles = sequence_.Tiles(queries[0]);
  for (int64_t step = 0; step < tiles; ++step) {
    const bool last_first = plan_.schedule.order == TileOrder::kLastFirst;
    AddTile(last_first ? tiles - 1 - step : step, step);
  }
  for (int64_t i = 0; i < rows; ++i) {
    if (s_.lost[static_cast<size_t>(i)] || tiles == 0) {
      Define(i, answer);
    } else {
      Finish(i, answer);
    }
  }
}

void ReplayTile::AddTile(int64_t tile, int64_t step) {
  const int64_t from = tile * sequence_.tile.keys;
  const int64_t count = std::min(sequence_.tile.keys, KeyCount() - from);
  const int64_t rows = static_cast<int64_t>(queries_.size());
  Score(from, count);
  s_.open.clear();
  for (int64_t i = 0; i < rows; ++i) AddRow(i, from, count, step);
  if (!s_.open.empty()) Unpin();
  // The last group's missing keys are zeros, which count where a hull takes error bounds.
  static constexpr std::array<std::byte, 2 * kPanelColumns> kZeros{};
  const int64_t L = plan_.model.products;
  const int64_t padded = std::min(sequence_.tile.keys, (count + L - 1) / L * L);
  std::array<const std::byte*, static_cast<size_t>(kPanelProducts)> values;
  values.fill(kZeros.data());
  for (int64_t panel = 0; panel < panels_; ++panel) {
    const int64_t first = panel * kPanelColumns;
    for (int64_t j = 0; j < count; ++j) {
      values[static_cast<size_t>(j)] = KeyRow(plan_.problem.v, from + j) + 2 * first;
    }
    const HullOperands operands = {s_.weights.Reserve(0),
                                   std::span(values).first(static_cast<size_t>(padded)),
                                   s_.open,
                                   &s_.lost,
                                   rows,
                                   std::min(kPanelColumns, D_ - first)};
    output_.Add(operands, Output(s_.o_low.Reserve(0), 0, panel),
                pinned_ ? nullptr : Output(s_.o_high.Reserve(0), 0, panel));
  }
}

// Scores of the keys [from, from + count), in panels.
void ReplayTile::Score(int64_t from, int64_t count) {
  const int64_t rows = static_cast<int64_t>(queries_.size());
  for (int64_t first = 0; first < count; first += kPanelColumns) {
    const int64_t columns = std::min(kPanelColumns, count - first);
    uint16_t* const keys = s_.keys.Reserve(0);
    for (int64_t j = 0; j < columns; ++j) {
      const std::byte* const key = KeyRow(plan_.problem.k, from + first + j);
      for (int64_t d = 0; d < D_; ++d) {
        std::memcpy(keys + d * kPanelColumns + j, key + 2 * d, sizeof *keys);
      }
    }
    scores_.Resize(rows, columns);
    for (int64_t d = 0; d < D_; ++d) {
      scores_.UnpackB(d, reinterpret_cast<const std::byte*>(keys + d * kPanelColumns));
    }
    scores_.Begin(D_);
    float* const c = s_.scores.Reserve(0) + first / kPanelColumns * kPanelSize;
    for (int64_t i = 0; i < rows; ++i) {
      std::fill_n(c + i * kPanelColumns, columns, 0.0f);
      // What stands past the keys needs no definition.
      std::fill_n(c + i * kPanelColumns + columns, kPanelColumns - columns, 1.0f);
    }
    for (int64_t k = 0; k < D_; k += plan_.model.products) {
      DefineScores(scores_.Group(k, c, nullptr), from + first, k, columns, c);
    }
  }
}

// The groups of products from k on that the loops left, of keys that are seen.
void ReplayTile::DefineScores(std::span<const LeftLanes> left, int64_t from, int64_t k,
                              int64_t columns, float* c) {
  const matrix_unit::Model& model = plan_.model;
  for (const LeftLanes& lanes : left) {
    const size_t row = static_cast<size_t>(lanes.row);
    if (s_.lost[row]) continue;
    const int64_t n = queries_[row];
    const std::byte* const q =
        plan_.problem.q.Row(sequence_.b, sequence_.queries[static_cast<size_t>(n)], head_);
    const int64_t end = std::min(columns, sequence_.Visible(n) - from);
    for (uint32_t bits = lanes.lanes; bits != 0; bits &= bits - 1) {
      const int64_t column = lanes.column + std::countr_zero(bits);
      if (column >= end) break;
      float& score = c[lanes.row * kPanelColumns + column];
      if (std::isnan(score)) continue;
      const size_t count = static_cast<size_t>(std::min<int64_t>(model.products, D_ - k));
      const std::byte* const key = KeyRow(plan_.problem.k, from + column);
      std::array<Unpacked, 16> x, y;
      for (size_t n_d = 0; n_d < count; ++n_d) {
        uint16_t of_q, of_k;
        std::memcpy(&of_q, q + 2 * (static_cast<size_t>(k) + n_d), sizeof of_q);
        std::memcpy(&of_k, key + 2 * (static_cast<size_t>(k) + n_d), sizeof of_k);
        x[n_d] = matrix_unit::Operand(model, of_q);
        y[n_d] = matrix_unit::Operand(model, of_k);
      }
      bool corner = false;
      score = std::bit_cast<float>(
          matrix_unit::DotAdd(model, model.f32, model.f32.readings[0], std::span(x).first(count),
                              std::span(y).first(count), std::bit_cast<uint32_t>(score), corner));
      if (corner) s_.lost[row] = true;
    }
  }
}

// The row's maximum, weights and sums; its output is rescaled.
void ReplayTile::AddRow(int64_t i, int64_t from, int64_t count, int64_t step) {
  uint16_t* const weights = s_.weights.Reserve(0) + i * kPanelProducts;
  const size_t at = static_cast<size_t>(i);
  if (s_.lost[at]) {
    std::fill_n(weights, kPanelProducts, uint16_t{0});
    return;
  }
  const int64_t padded = UpToVector(sequence_.tile.keys);
  const int64_t seen = std::clamp<int64_t>(sequence_.Visible(queries_[at]) - from, 0, count);
  float* const row = s_.row.Reserve(0);
  for (int64_t first = 0; first < seen; first += kPanelColumns) {
    const float* c = s_.scores.Reserve(0) + first / kPanelColumns * kPanelSize + i * kPanelColumns;
    std::copy_n(c, std::min(kPanelColumns, seen - first), row + first);
  }
  std::fill(row + seen, row + padded, -kInfinity);
  ReplayRow& state = s_.rows[at];
  // Where every score so far is NaN, so is l from now on, whatever the maximum.
  const float max = Greater(state.max, plan_.rows.largest(row, padded, -kInfinity));
  const Admissible f = step == 0 ? Admissible(0.0f) : Rescaling(state.max, max, step);
  state.max = max;
  Weigh(i, max, padded);
  AddToSums(i, f, step == 0);
  if (step > 0) Rescale(i, f);
}

Admissible ReplayTile::Rescaling(float from, float to, int64_t step) const {
  const bool guarded = step < sequence_.MaskedTiles();
  if (guarded && to == -kInfinity) to = 0;
  const float less = replay::Flush(from - to);
  return plan_.functions.Exp2(replay::Flush(less * plan_.factor));
}

// The weights of the row's scores, as sets and in 16 bits.
void ReplayTile::Weigh(int64_t i, float max, int64_t count) {
  const replay::SpecialFunctions& functions = plan_.functions;
  const bool on_lanes = functions.exp2.values.empty() && functions.ulp <= kMostUlp;
  float *const row = s_.row.Reserve(0), *const x = s_.x.Reserve(0);
  float *const low = s_.p_low.Reserve(0), *const high = s_.p_high.Reserve(0);
  if (max == -kInfinity) max = 0;
  const RowArguments arguments = {plan_.schedule.exp_argument, plan_.factor, max,
                                  replay::Flush(max * plan_.factor), on_lanes ? functions.ulp : 0};
  const bool open = plan_.rows.powers(arguments, row, count, x, low, high);
  if (open || !on_lanes) {
    for (int64_t j = 0; j < count; ++j) {
      if (on_lanes && low[j] != kOpenPower) continue;
      const Admissible power = functions.Exp2(x[j]);
      low[j] = power.low;
      high[j] = power.high;
    }
  }
  uint16_t* const weights = s_.weights.Reserve(0) + i * kPanelProducts;
  uint16_t* const weights_high = s_.weights_high.Reserve(0);
  plan_.rows.round(plan_.problem.dtype, low, count, weights);
  plan_.rows.round(plan_.problem.dtype, high, count, weights_high);
  const size_t bytes = static_cast<size_t>(count) * sizeof *weights;
  if (std::memcmp(weights, weights_high, bytes) != 0) {
    for (int64_t j = 0; j < count; ++j) {
      if (weights[j] != weights_high[j]) s_.open.push_back({i, j, weights_high[j]});
    }
  }
  if (on_lanes) return;
  // A table's numbers may be any. Below zero the ends would change places.
  for (int64_t j = 0; j < count; ++j) {
    if (low[j] < 0) s_.lost[static_cast<size_t>(i)] = true;
    low[j] = replay::Flush(low[j]);
    high[j] = replay::Flush(high[j]);
  }
}

void ReplayTile::AddToSums(int64_t i, const Admissible& f, bool first_tile) {
  ReplayRow& row = s_.rows[static_cast<size_t>(i)];
  const int64_t count = UpToVector(sequence_.tile.keys);
  const int sums = plan_.schedule.row_sum == RowSum::kQuads ? 4 : 1;
  // No set holds a zero that meets another's infinity.
  bool usual = first_tile || f.IsNaN() || (f.low >= 0 && !std::isinf(f.high));
  if (!first_tile && f.low == 0) {
    usual = usual && std::none_of(row.high, row.high + sums, [](float l) { return std::isinf(l); });
  }
  EndOfSums{plan_.schedule, first_tile, f.low}.Add(s_.p_low.Reserve(0), count, row.low);
  EndOfSums{plan_.schedule, first_tile, f.high}.Add(s_.p_high.Reserve(0), count, row.high);
  for (int t = 0; t < sums; ++t) usual = usual && std::isnan(row.low[t]) == std::isnan(row.high[t]);
  if (!usual) s_.lost[static_cast<size_t>(i)] = true;
}

float* ReplayTile::Output(float* o, int64_t i, int64_t panel) const {
  return o + panel * kPanelSize + i * kPanelColumns;
}

// From now on o is kept as sets.
void ReplayTile::Unpin() {
  if (!pinned_) return;
  std::copy_n(s_.o_low.Reserve(0), panels_ * kPanelSize, s_.o_high.Reserve(0));
  pinned_ = false;
}

// The row's output times f, a set of numbers of at least +0, or NaN.
void ReplayTile::Rescale(int64_t i, const Admissible& f) {
  if (!f.IsPinned()) Unpin();
  for (int64_t panel = 0; panel < panels_; ++panel) {
    float* const low = Output(s_.o_low.Reserve(0), i, panel);
    float* const high = pinned_ ? nullptr : Output(s_.o_high.Reserve(0), i, panel);
    const int64_t columns = std::min(kPanelColumns, UpToVector(D_ - panel * kPanelColumns));
    if (f.low == 0 && (IsInfiniteRow(low, columns) || (high && IsInfiniteRow(high, columns)))) {
      s_.lost[static_cast<size_t>(i)] = true;
    }
    plan_.rows.scale(low, high, columns, f.low, f.high);
  }
}

Admissible ReplayTile::LSE(float max, const Admissible& l) const {
  constexpr float kLn2 = 0x1.62e43p-1f;
  const Admissible scale = plan_.problem.softmax_scale, log2 = plan_.functions.Log2(l);
  const Admissible product = Multiply(log2, kLn2), scaled = Multiply(max, scale);
  return Union(Add(scaled, product), Union(Fma(max, scale, product), Fma(log2, kLn2, scaled)));
}

// Normalises the row and writes it.
void ReplayTile::Finish(int64_t i, ScheduledAnswer& answer) {
  const ReplayRow& row = s_.rows[static_cast<size_t>(i)];
  Admissible l(row.low[0], row.high[0]);
  if (plan_.schedule.row_sum == RowSum::kQuads) {
    l = replay::Add(replay::Add(l, {row.low[2], row.high[2]}),
                    replay::Add({row.low[1], row.high[1]}, {row.low[3], row.high[3]}));
  }
  const bool empty = l.IsNaN() || (l.low == 0 && l.high == 0);
  const bool divides = plan_.schedule.normalisation == Normalisation::kDivision && !empty;
  if (!empty && !(l.low > 0 && l.high < kInfinity)) return Define(i, answer);
  const Admissible r = empty || divides ? Admissible(1.0f) : plan_.functions.Reciprocal(l);
  if (!(r.low > 0 && r.high < kInfinity)) return Define(i, answer);
  if (!r.IsPinned() || (divides && !l.IsPinned())) Unpin();
  const AttentionShape& shape = plan_.problem.shape;
  const int64_t token = sequence_.queries[static_cast<size_t>(queries_[static_cast<size_t>(i)])];
  const int64_t out = ((sequence_.b * shape.Sq + token) * shape.Hq + head_) * D_;
  for (int64_t panel = 0; panel < panels_; ++panel) {
    const int64_t first = panel * kPanelColumns, columns = std::min(kPanelColumns, D_ - first);
    float* const low = Output(s_.o_low.Reserve(0), i, panel);
    float* const high = pinned_ ? low : Output(s_.o_high.Reserve(0), i, panel);
    if (divides) {
      for (int64_t j = 0; j < columns; ++j) {
        const Admissible o = Divide({low[j], high[j]}, l);
        low[j] = o.low;
        high[j] = o.high;
      }
    } else {
      plan_.rows.scale(low, pinned_ ? nullptr : high, UpToVector(columns), r.low, r.high);
    }
    uint16_t* const bits = s_.weights_high.Reserve(0);
    plan_.rows.round(plan_.problem.dtype, low, UpToVector(columns), bits);
    std::copy_n(bits, columns, answer.o_low.data() + out + first);
    plan_.rows.round(plan_.problem.dtype, high, UpToVector(columns), bits);
    std::copy_n(bits, columns, answer.o_high.data() + out + first);
  }
  const Admissible lse = empty ? Admissible(kInfinity) : LSE(row.max, l);
  const size_t at = static_cast<size_t>((sequence_.b * shape.Hq + head_) * shape.Sq + token);
  answer.lse_low[at] = Canonical(lse.low);
  answer.lse_high[at] = Canonical(lse.high);
}

}  // namespace bitanchor::simd
