#include "tools/golden_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "lib/problem/generate.h"

namespace bitanchor::tools {
namespace {

constexpr size_t kShownElements = 5;

std::vector<int64_t> IndexOf(int64_t element, const std::vector<int64_t>& shape) {
  std::vector<int64_t> index(shape.size());
  for (size_t axis = shape.size(); axis-- > 0; element /= shape[axis]) {
    index[axis] = element % shape[axis];
  }
  return index;
}

template <typename T>
T Load(const std::byte* data) {
  T value;
  std::memcpy(&value, data, sizeof value);
  return value;
}

ElementBits Bits(DType dtype, const std::byte* data) {
  if (!IsFloat(dtype)) {
    const int64_t id = Load<int64_t>(data);
    return {fmt::format("{:016x}", id), fmt::format("{}", id)};
  }
  const std::string value = fmt::format("{}", LoadF32(dtype, data));
  if (dtype == DType::kF32) return {fmt::format("{:08x}", Load<uint32_t>(data)), value};
  return {fmt::format("{:04x}", Load<uint16_t>(data)), value};
}

// got and want have one dtype and one shape.
TensorDifference Compare(const OutTensor& got, const std::byte* want) {
  const size_t size = DTypeBytes(got.dtype);
  TensorDifference difference{got.name, 0, static_cast<int64_t>(got.bytes.size() / size), {}};
  for (int64_t n = 0; n < difference.elements; ++n) {
    const std::byte* const mine = got.bytes.data() + static_cast<size_t>(n) * size;
    const std::byte* const theirs = want + static_cast<size_t>(n) * size;
    if (std::memcmp(mine, theirs, size) == 0) continue;
    ++difference.differing;
    if (difference.first.size() == kShownElements) continue;
    difference.first.push_back(
        {IndexOf(n, got.shape), Bits(got.dtype, mine), Bits(got.dtype, theirs)});
  }
  return difference;
}

void Add(std::vector<GoldenDifference>& to, const std::string& prefix,
         const std::vector<GoldenDifference>& more) {
  for (const GoldenDifference& d : more) to.push_back({prefix + d.field, d.got, d.want});
}

const OutTensor* Find(const std::vector<OutTensor>& tensors, const std::string& name) {
  const auto found =
      std::ranges::find_if(tensors, [&](const OutTensor& t) { return t.name == name; });
  return found == tensors.end() ? nullptr : &*found;
}

// The stored tensors against the golden's text, and element by element against the computed ones.
void CompareStored(const std::vector<OutTensor>& stored, const std::vector<OutTensor>& computed,
                   Checked& checked) {
  for (const OutTensor& got : computed) {
    const OutTensor* const want = Find(stored, got.name);
    if (want == nullptr || want->dtype != got.dtype || want->shape != got.shape) continue;
    TensorDifference difference = Compare(got, want->bytes.data());
    if (difference.differing > 0) checked.tensors.push_back(std::move(difference));
  }
}

void CheckStored(const std::string& folder, const GivenProblem& given, const Answers& answers,
                 Checked& checked) {
  const Golden& golden = checked.golden;
  const SafetensorsFile file = SafetensorsFile::Open(GoldenOutputsPath(folder, golden.name));
  std::vector<OutTensor> outputs;
  for (const TensorEntry& entry : file.entries()) {
    outputs.push_back({entry.name, entry.dtype, entry.shape, {entry.data, entry.bytes}});
  }
  const bool drawn = golden.generator == kGen1Name;
  if (drawn) {
    const GivenProblem stored = ReadGiven(GoldenProblemPath(folder, golden.name));
    Add(checked.differences, "stored ", Differences(Describe(golden, stored, outputs), golden));
    CompareStored(stored.tensors, given.tensors, checked);
  } else {  // the stored problem is the one that was computed
    Add(checked.differences, "stored ", Differences(Describe(golden, given, outputs), golden));
  }
  CompareStored(outputs, answers.tensors, checked);
}

}  // namespace

Checked CheckGolden(const std::string& folder, const Golden& golden, const GivenProblem& given,
                    Engine engine, const simd::EngineOptions& options) {
  const Answers answers = AnswerAll(given.problem, given.dout, RecipeOption(golden.recipe),
                                    Layout::kBSHD, engine, options);
  Checked checked{golden, Differences(Describe(golden, given, answers.tensors), golden), {}};
  if (golden.tensors) CheckStored(folder, given, answers, checked);
  return checked;
}

}  // namespace bitanchor::tools
