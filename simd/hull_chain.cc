#include "simd/hull_chain.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "lib/matrix_unit/dot_add.h"

namespace bitanchor::simd {
namespace {

using matrix_unit::Hull;

constexpr int64_t kMostProducts = 16;  // of a group on lanes
constexpr size_t kMostChoices = 8;     // of a row's open elements, on lanes

// Whether the element's two values are neighbours, and neither zero nor infinite: all of the
// choices are the two, and both are taken on lanes.
bool IsUsual(const matrix_unit::Model& model, uint16_t low, uint16_t high) {
  return low != 0 && high == low + 1 && high < model.format.InfinityBits();
}

bool IsNaNBits(uint32_t f32_bits) { return (f32_bits & 0x7fffffffu) > 0x7f800000u; }

// The elements of the row that `open` begins with.
std::span<const OpenElement> FirstRow(std::span<const OpenElement> open) {
  size_t count = 1;
  while (count < open.size() && open[count].row == open[0].row) ++count;
  return open.first(count);
}

}  // namespace

HullChain::HullChain(const matrix_unit::Model& model, const UnitKernels& kernels,
                     HullScratch& scratch)
    : model_(model), s_(scratch), panel_(model, model.f32, kernels, scratch.panel) {}

void HullChain::Add(const HullOperands& operands, float* low, float* high) {
  const int64_t count = static_cast<int64_t>(operands.b.size()), L = model_.products;
  panel_.Resize(operands.rows, operands.columns);
  for (int64_t row = 0; row < operands.rows; ++row) {
    const uint16_t* a = operands.a + row * kPanelProducts;
    panel_.UnpackA(row, reinterpret_cast<const std::byte*>(a), count);
  }
  for (int64_t k = 0; k < count; ++k) panel_.UnpackB(k, operands.b[static_cast<size_t>(k)]);
  panel_.Begin(count);
  s_.open.resize(static_cast<size_t>(kPanelProducts));
  for (auto& open : s_.open) open.clear();
  for (const OpenElement& element : operands.open) {
    s_.open[static_cast<size_t>(element.k / L)].push_back(element);
  }
  for (int64_t k = 0; k < count; k += L) {
    AddGroup(operands, k, s_.open[static_cast<size_t>(k / L)], low, high);
  }
}

void HullChain::AddGroup(const HullOperands& operands, int64_t k, std::span<const OpenElement> open,
                         float* low, float* high) {
  constexpr size_t kRowBytes = sizeof(float) * static_cast<size_t>(kPanelColumns);
  const auto has_open = [&](int64_t row) {
    return std::any_of(open.begin(), open.end(),
                       [row](const OpenElement& element) { return element.row == row; });
  };
  // The group is for rows without open elements: the others begin again from what they were.
  float* const saved = s_.saved.Reserve(2 * open.size() * static_cast<size_t>(kPanelColumns));
  float* to = saved;
  for (auto rest = open; !rest.empty(); rest = rest.subspan(FirstRow(rest).size())) {
    std::memcpy(to, low + rest[0].row * kPanelColumns, kRowBytes);
    std::memcpy(to + kPanelColumns, high + rest[0].row * kPanelColumns, kRowBytes);
    to += 2 * kPanelColumns;
  }
  for (const LeftLanes& left : panel_.Group(k, low, high)) {
    if ((*operands.anything)[static_cast<size_t>(left.row)] || has_open(left.row)) continue;
    for (uint32_t lanes = left.lanes; lanes != 0; lanes &= lanes - 1) {
      const int64_t column = left.column + std::countr_zero(lanes);
      if (column >= operands.columns) break;
      float& c = low[left.row * kPanelColumns + column];
      float same = c;
      float& c_high = high == nullptr ? same : high[left.row * kPanelColumns + column];
      Define(operands, k, {}, left.row, column, c, c_high);
      if (high == nullptr && std::bit_cast<uint32_t>(c) != std::bit_cast<uint32_t>(same)) {
        (*operands.anything)[static_cast<size_t>(left.row)] = true;  // the unit's own corner
      }
    }
  }
  const float* from = saved;
  for (auto rest = open; !rest.empty(); rest = rest.subspan(FirstRow(rest).size())) {
    std::memcpy(low + rest[0].row * kPanelColumns, from, kRowBytes);
    std::memcpy(high + rest[0].row * kPanelColumns, from + kPanelColumns, kRowBytes);
    from += 2 * kPanelColumns;
    if ((*operands.anything)[static_cast<size_t>(rest[0].row)]) continue;
    Choose(operands, k, FirstRow(rest), low + rest[0].row * kPanelColumns,
           high + rest[0].row * kPanelColumns);
  }
}

// One row's group, whose open elements are either value each: on lanes for all choices.
void HullChain::Choose(const HullOperands& operands, int64_t k, std::span<const OpenElement> of_row,
                       float* low, float* high) {
  const int64_t row = of_row[0].row;
  const uint16_t* const a = operands.a + row * kPanelProducts;
  const size_t choices = size_t{1} << std::min<size_t>(of_row.size(), 31);
  std::array<bool, static_cast<size_t>(kPanelColumns)> left{};
  if (choices > kMostChoices ||
      !std::all_of(of_row.begin(), of_row.end(), [&](const OpenElement& element) {
        return IsUsual(model_, a[element.k], element.high);
      })) {
    for (int64_t j = 0; j < operands.columns; ++j) {
      Define(operands, k, of_row, row, j, low[j], high[j]);
    }
    return;
  }
  constexpr size_t kOperands = kMostChoices * static_cast<size_t>(kPanelProducts);
  constexpr size_t kResults = kMostChoices * static_cast<size_t>(kPanelColumns);
  float* const values = s_.choices.Reserve(kOperands + 2 * kResults);
  float *const c_low = values + kOperands, *const c_high = c_low + kResults;
  int32_t* const twice = s_.choices_twice.Reserve(kOperands);
  for (size_t choice = 0; choice < choices; ++choice) {
    std::array<uint16_t, static_cast<size_t>(kMostProducts)> chosen{};
    const int64_t count =
        std::min<int64_t>(model_.products, static_cast<int64_t>(operands.b.size()) - k);
    std::copy_n(a + k, count, chosen.begin());
    for (size_t n = 0; n < of_row.size(); ++n) {
      if ((choice >> n & 1) != 0) chosen[static_cast<size_t>(of_row[n].k - k)] = of_row[n].high;
    }
    const size_t operand = choice * static_cast<size_t>(kPanelProducts);
    panel_.UnpackApart(reinterpret_cast<const std::byte*>(chosen.data()), values + operand,
                       twice + operand);
    std::copy_n(low, kPanelColumns, c_low + choice * static_cast<size_t>(kPanelColumns));
    std::copy_n(high, kPanelColumns, c_high + choice * static_cast<size_t>(kPanelColumns));
  }
  const PanelRows rows = {static_cast<int64_t>(choices), values, twice};
  for (const LeftLanes& lanes : panel_.Group(k, rows, c_low, c_high)) {
    for (uint32_t bits = lanes.lanes; bits != 0; bits &= bits - 1) {
      left[static_cast<size_t>(lanes.column + std::countr_zero(bits))] = true;
    }
  }
  for (size_t j = 0; j < static_cast<size_t>(operands.columns); ++j) {
    if (left[j]) {
      Define(operands, k, of_row, row, static_cast<int64_t>(j), low[j], high[j]);
      continue;
    }
    low[j] = c_low[j];
    high[j] = c_high[j];
    for (size_t at = j; at < choices * static_cast<size_t>(kPanelColumns);
         at += static_cast<size_t>(kPanelColumns)) {
      low[j] = std::min(low[j], c_low[at]);
      high[j] = std::max(high[j], c_high[at]);
    }
  }
}

// One result's group, by the definition.
void HullChain::Define(const HullOperands& operands, int64_t k, std::span<const OpenElement> of_row,
                       int64_t row, int64_t column, float& low, float& high) {
  if (of_row.empty() && std::isnan(low) && std::isnan(high)) return;
  const int64_t count =
      std::min<int64_t>(model_.products, static_cast<int64_t>(operands.b.size()) - k);
  std::array<Unpacked, static_cast<size_t>(kMostProducts)> a_low, a_high, b;
  for (int64_t n = 0; n < count; ++n) {
    const size_t at = static_cast<size_t>(n);
    uint16_t bits;
    std::memcpy(&bits, operands.b[static_cast<size_t>(k + n)] + 2 * column, sizeof bits);
    b[at] = matrix_unit::Operand(model_, bits);
    a_low[at] = matrix_unit::Operand(model_, operands.a[row * kPanelProducts + k + n]);
    a_high[at] = a_low[at];
  }
  for (const OpenElement& element : of_row) {
    a_high[static_cast<size_t>(element.k - k)] = matrix_unit::Operand(model_, element.high);
  }
  const size_t size = static_cast<size_t>(count);
  const auto bits = [&](float c) {
    return std::isnan(c) ? model_.f32.nan : std::bit_cast<uint32_t>(c);
  };
  const Hull hull = matrix_unit::DotAddHull(model_, model_.f32, std::span(a_low).first(size),
                                            std::span(a_high).first(size), std::span(b).first(size),
                                            {bits(low), bits(high)});
  low = std::bit_cast<float>(hull.low);
  high = std::bit_cast<float>(hull.high);
  if (IsNaNBits(hull.high) && !IsNaNBits(hull.low)) {
    (*operands.anything)[static_cast<size_t>(row)] = true;
  }
}

}  // namespace bitanchor::simd
