// What a capture says about each token: the document it belongs to and its position.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <string>

#include "lib/file/capture_metadata.h"
#include "lib/file/capture_tensors.h"
#include "lib/file/printable.h"
#include "lib/problem/layout.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using Numbers = std::vector<int64_t>;

constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxPosition = std::numeric_limits<int32_t>::max();

void CheckShape(const TensorEntry& entry, const Numbers& want) {
  if (entry.shape == want) return;
  throw InputError(entry.name, "shape " + Printable(fmt::format("{}", entry.shape), 100),
                   fmt::format("{}", want));
}

int64_t LoadInteger(const TensorEntry& entry, size_t n) {
  if (entry.dtype == DType::kI64) {
    int64_t value;
    std::memcpy(&value, entry.data + 8 * n, sizeof value);
    return value;
  }
  int32_t value;
  std::memcpy(&value, entry.data + 4 * n, sizeof value);
  return value;
}

// One number for each token of [B, S] (thd: [T]), each in 0..most; empty: no such tensor.
Numbers ReadNumbers(const Capture& capture, std::string_view name, int64_t S, int64_t most) {
  const TensorEntry* const entry = capture.file.Find(name);
  if (entry == nullptr) return {};
  if (entry->dtype != DType::kI32 && entry->dtype != DType::kI64) {
    throw InputError(entry->name, std::string(DTypeName(entry->dtype)), "I32 or I64");
  }
  const int64_t B = capture.problem.shape.B;
  CheckShape(*entry, capture.layout == Layout::kTHD ? Numbers{S} : Numbers{B, S});
  Numbers numbers(static_cast<size_t>(B * S));
  for (size_t n = 0; n < numbers.size(); ++n) {
    numbers[n] = LoadInteger(*entry, n);
    if (numbers[n] >= 0 && numbers[n] <= most) continue;
    const int64_t at = static_cast<int64_t>(n);
    throw InputError(entry->name, fmt::format("{} at [{}, {}]", numbers[n], at / S, at % S),
                     most == kMaxId ? "numbers >= 0" : fmt::format("0..{}", most));
  }
  return numbers;
}

// The ids that cu_seqlens gives to the keys; empty: no such tensor.
Numbers IdsOfCuSeqlens(const Capture& capture) {
  const TensorEntry* const entry = capture.file.Find("cu_seqlens");
  if (entry == nullptr) {
    if (capture.layout != Layout::kTHD) return {};
    throw InputError("cu_seqlens", "no tensor", "one, as layout thd needs it");
  }
  if (entry->dtype != DType::kI32) {
    throw InputError(entry->name, std::string(DTypeName(entry->dtype)), "I32");
  }
  if (entry->shape.size() != 1) {
    throw InputError(entry->name, "shape " + Printable(fmt::format("{}", entry->shape), 100),
                     "[n + 1]");
  }
  const AttentionShape& shape = capture.problem.shape;
  if (shape.B != 1) {
    throw InputError(entry->name, fmt::format("a batch of {}", shape.B),
                     "document_ids, or a batch of 1");
  }
  Numbers cu_seqlens(static_cast<size_t>(entry->shape[0]));
  for (size_t n = 0; n < cu_seqlens.size(); ++n) cu_seqlens[n] = LoadInteger(*entry, n);
  return IdsFromCuSeqlens(cu_seqlens, shape.Skv);
}

Numbers KeyIds(const Capture& capture) {
  const Numbers ids = ReadNumbers(capture, "document_ids", capture.problem.shape.Skv, kMaxId);
  const Numbers cu_ids = IdsOfCuSeqlens(capture);
  if (ids.empty()) return cu_ids;
  if (cu_ids.empty()) return ids;
  // thd cannot do without cu_seqlens, so there document_ids may repeat what it says.
  const bool is_thd = capture.layout == Layout::kTHD;
  if (is_thd && ids == cu_ids) return ids;
  throw InputError("document_ids", "a tensor besides cu_seqlens",
                   is_thd ? "none, or the ids that cu_seqlens gives" : "only one of the two");
}

// Whether every query stands at some key.
bool QueriesStandAtKeys(const AttentionProblem& problem) {
  const int64_t off = problem.mask.Offset();
  return off >= 0 && problem.shape.Sq + off <= problem.shape.Skv;
}

// Query i takes the entry of key i + off.
Numbers FromKeys(const Capture& capture, const std::string& name, const Numbers& of_keys) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = capture.problem.shape;
  const int64_t off = capture.problem.mask.Offset();
  if (!QueriesStandAtKeys(capture.problem)) {
    throw InputError(name, "no tensor",
                     fmt::format("one, as queries stand at keys {}..{} and not all within 0..{}",
                                 off, off + Sq - 1, Skv - 1));
  }
  Numbers numbers;
  numbers.reserve(static_cast<size_t>(B * Sq));
  for (int64_t b = 0; b < B; ++b) {
    const auto begin = of_keys.begin() + b * Skv + off;
    numbers.insert(numbers.end(), begin, begin + Sq);
  }
  return numbers;
}

std::string QueryDefault(const AttentionProblem& problem, std::string_view of_keys) {
  const int64_t off = problem.mask.Offset();
  if (off == 0) return fmt::format("{}[i] for query i", of_keys);
  return fmt::format("{}[i + {}] for query i", of_keys, off);
}

void ReadDocuments(Capture& capture) {
  AttentionProblem& problem = capture.problem;
  Mask& mask = problem.mask;
  mask.k_ids = KeyIds(capture);
  mask.q_ids = ReadNumbers(capture, "q_document_ids", problem.shape.Sq, kMaxId);
  const bool is_needed = mask.spec.rule != MaskRule::kFull;
  if (mask.k_ids.empty()) {
    if (!is_needed && mask.q_ids.empty()) return;
    const std::string why = is_needed ? fmt::format("rule {} needs it", Name(mask.spec.rule))
                                      : "q_document_ids is nothing without it";
    throw InputError("document_ids", "no tensor", fmt::format("one, or cu_seqlens: {}", why));
  }
  if (!mask.q_ids.empty()) return;
  if (!is_needed && !QueriesStandAtKeys(problem)) return;
  mask.q_ids = FromKeys(capture, "q_document_ids", mask.k_ids);
  if (is_needed) {
    capture.defaults.push_back(
        DefaultTaken("q_document_ids", QueryDefault(problem, "document_ids")));
  }
}

void ReadPositions(Capture& capture) {
  AttentionProblem& problem = capture.problem;
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  Numbers of_keys = ReadNumbers(capture, "position_ids", Skv, kMaxPosition);
  Numbers of_queries = ReadNumbers(capture, "q_position_ids", Sq, kMaxPosition);
  if (!problem.rope) return;
  if (of_keys.empty()) {
    of_keys.resize(static_cast<size_t>(B * Skv));
    for (int64_t b = 0; b < B; ++b) {
      std::iota(of_keys.begin() + b * Skv, of_keys.begin() + (b + 1) * Skv, 0);
    }
    capture.defaults.push_back(DefaultTaken("position_ids", fmt::format("0..{}", Skv - 1)));
  }
  if (of_queries.empty()) {
    of_queries = FromKeys(capture, "q_position_ids", of_keys);
    capture.defaults.push_back(
        DefaultTaken("q_position_ids", QueryDefault(problem, "position_ids")));
  }
  problem.k_positions = std::move(of_keys);
  problem.q_positions = std::move(of_queries);
}

}  // namespace

void ReadTokens(Capture& capture) {
  ReadDocuments(capture);
  ReadPositions(capture);
}

}  // namespace bitanchor
