#include "lib/problem/attention_problem.h"

#include <fmt/format.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <string>

#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

constexpr int64_t kMaxId = std::numeric_limits<int64_t>::max();
constexpr int64_t kMaxPosition = (int64_t{1} << 31) - 1;

std::string Text(const Shape4& shape) {
  return fmt::format("[{}, {}, {}, {}]", shape[0], shape[1], shape[2], shape[3]);
}

// Every size is >= 1. Eight bytes an element is the widest that anything derived from a tensor has.
bool BytesOverflow(const Shape4& shape) {
  int64_t bytes = 8;
  for (const int64_t size : shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return true;
  }
  return false;
}

void CheckTensor(const char* name, const TensorView& tensor, DType dtype, const Shape4& shape) {
  if (!tensor) {
    throw InputError(name, "no tensor", fmt::format("{} {}", DTypeName(dtype), Text(shape)));
  }
  if (!IsFloat(tensor.dtype)) {
    throw InputError(name, std::string(DTypeName(tensor.dtype)), "BF16, F16 or F32");
  }
  if (tensor.dtype != dtype) {
    throw InputError(name, std::string(DTypeName(tensor.dtype)),
                     fmt::format("{}, the dtype of the problem", DTypeName(dtype)));
  }
  if (tensor.shape != shape) {
    throw InputError(name, fmt::format("shape {}", Text(tensor.shape)),
                     fmt::format("{} as [B, S, H, D]", Text(shape)));
  }
  if (std::ranges::min(shape) < 1) {
    throw InputError(name, fmt::format("shape {}", Text(shape)), "every size >= 1");
  }
  if (BytesOverflow(shape)) {
    throw InputError(name, fmt::format("shape {}", Text(shape)), "fewer than 2^63 bytes");
  }
  if (tensor.stride[3] != 1) {
    throw InputError(name, fmt::format("a stride of {} elements along D", tensor.stride[3]), "1");
  }
}

void CheckTensors(const AttentionProblem& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  CheckTensor("q", problem.q, problem.dtype, {B, Sq, Hq, D});
  CheckTensor("k", problem.k, problem.dtype, {B, Skv, Hkv, D});
  CheckTensor("v", problem.v, problem.dtype, {B, Skv, Hkv, D});
  if (D > kMaxHeadDim) {
    throw InputError("q", fmt::format("head dimension {}", D), fmt::format("1..{}", kMaxHeadDim));
  }
  if (Hq % Hkv != 0) {
    throw InputError("k", fmt::format("{} heads", Hkv),
                     fmt::format("a number that divides the {} heads of q", Hq));
  }
}

// Numbers of one kind for each token of [B, S].
void CheckTokens(const char* name, const std::vector<int64_t>& numbers, int64_t B, int64_t S,
                 int64_t most) {
  if (static_cast<int64_t>(numbers.size()) != B * S) {
    const std::string got = numbers.empty() ? "none" : fmt::format("{} numbers", numbers.size());
    throw InputError(name, got, fmt::format("{}, one for each of [B, S] = [{}, {}]", B * S, B, S));
  }
  for (size_t n = 0; n < numbers.size(); ++n) {
    if (numbers[n] >= 0 && numbers[n] <= most) continue;
    const int64_t at = static_cast<int64_t>(n);
    throw InputError(name, fmt::format("{} at [{}, {}]", numbers[n], at / S, at % S),
                     most == kMaxId ? "ids >= 0" : fmt::format("0..{}", most));
  }
}

void CheckMask(const AttentionProblem& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const Mask& mask = problem.mask;
  if (mask.B != B || mask.Sq != Sq || mask.Skv != Skv) {
    throw InputError("mask", fmt::format("[B, Sq, Skv] = [{}, {}, {}]", mask.B, mask.Sq, mask.Skv),
                     fmt::format("[{}, {}, {}] as q and k have", B, Sq, Skv));
  }
  if (mask.spec.window_keys && *mask.spec.window_keys < 1) {
    throw InputError("mask.window_keys", std::to_string(*mask.spec.window_keys), "null or >= 1");
  }
  const bool needed = mask.spec.rule != MaskRule::kFull;
  if (needed || !mask.k_ids.empty()) CheckTokens("document_ids", mask.k_ids, B, Skv, kMaxId);
  if (needed || !mask.q_ids.empty()) CheckTokens("q_document_ids", mask.q_ids, B, Sq, kMaxId);
}

// A number that recipes round to f32, and that has to be usable there.
void CheckPositive(const char* name, double value) {
  const float rounded = static_cast<float>(value);
  if (std::isfinite(rounded) && rounded > 0) return;
  throw InputError(name, fmt::format("{}", value), "finite and > 0 as F32");
}

void CheckAtLeast(const char* name, int64_t value, int64_t least) {
  if (value < least) throw InputError(name, std::to_string(value), fmt::format(">= {}", least));
}

void CheckDynamic(const RopeConfig& rope) {
  CheckAtLeast("rope.max_position_embeddings", rope.max_position_embeddings, 1);
  CheckAtLeast("rope.rotary_dim", rope.rotary_dim, 4);  // the formula divides by R - 2
}

void CheckYarn(const RopeConfig& rope) {
  CheckAtLeast("rope.original_max_position_embeddings", rope.original_max_position_embeddings, 1);
  CheckPositive("rope.beta_fast", rope.beta_fast);
  CheckPositive("rope.beta_slow", rope.beta_slow);
  if (rope.mscale != 0) CheckPositive("rope.mscale", rope.mscale);
  if (rope.mscale_all_dim != 0) CheckPositive("rope.mscale_all_dim", rope.mscale_all_dim);
  if (rope.rope_theta == 1) throw InputError("rope.rope_theta", "1", "a number whose log is not 0");
}

// One number a rotary pair.
void CheckPairs(const char* name, size_t numbers, const RopeConfig& rope) {
  const int64_t pairs = rope.rotary_dim / 2;
  if (static_cast<int64_t>(numbers) == pairs) return;
  throw InputError(name, fmt::format("{} numbers", numbers),
                   fmt::format("{}, half of rotary_dim {}", pairs, rope.rotary_dim));
}

void CheckLongrope(const RopeConfig& rope) {
  // Its logarithm is a divisor.
  CheckAtLeast("rope.original_max_position_embeddings", rope.original_max_position_embeddings, 2);
  const auto check = [&](const char* name, const std::vector<double>& factors) {
    CheckPairs(name, factors.size(), rope);
    for (const double factor : factors) CheckPositive(name, factor);
  };
  check("rope.short_factor", rope.short_factor);
  check("rope.long_factor", rope.long_factor);
}

void CheckRopeScaling(const RopeConfig& rope) {
  if (rope.type == RopeType::kDefault) return;
  CheckPositive("rope.factor", rope.factor);
  if (rope.attention_factor) CheckPositive("rope.attention_factor", *rope.attention_factor);
  if (rope.type == RopeType::kDynamic) CheckDynamic(rope);
  if (rope.type == RopeType::kYarn) CheckYarn(rope);
  if (rope.type == RopeType::kLongrope) CheckLongrope(rope);
  if (rope.type != RopeType::kLlama3) return;
  CheckPositive("rope.low_freq_factor", rope.low_freq_factor);
  CheckPositive("rope.high_freq_factor", rope.high_freq_factor);
  // The formula interpolates between the two and divides by their difference.
  if (!(static_cast<float>(rope.low_freq_factor) < static_cast<float>(rope.high_freq_factor))) {
    throw InputError("rope.high_freq_factor", fmt::format("{}", rope.high_freq_factor),
                     fmt::format("more than low_freq_factor, {}", rope.low_freq_factor));
  }
  CheckAtLeast("rope.original_max_position_embeddings", rope.original_max_position_embeddings, 1);
}

void CheckRopeTables(const RopeConfig& rope, int64_t last_position) {
  const int64_t pairs = rope.rotary_dim / 2;
  if (!rope.inv_freq.empty()) CheckPairs("inv_freq", rope.inv_freq.size(), rope);
  if (rope.cos.empty() && rope.sin.empty()) return;
  if (rope.cos.empty()) throw InputError("cos", "no tensor", "both cos and sin, or neither");
  if (rope.sin.empty()) throw InputError("sin", "no tensor", "both cos and sin, or neither");
  const int64_t entries = static_cast<int64_t>(rope.cos.size());
  if (entries % pairs != 0) {
    throw InputError("cos", fmt::format("{} numbers", entries),
                     fmt::format("rows of {}, half of rotary_dim {}", pairs, rope.rotary_dim));
  }
  if (rope.sin.size() != rope.cos.size()) {
    throw InputError("sin", fmt::format("{} numbers", rope.sin.size()),
                     fmt::format("{}, as cos has", entries));
  }
  if (last_position >= entries / pairs) {
    throw InputError("cos", fmt::format("{} rows", entries / pairs),
                     fmt::format("more than the largest position, {}", last_position));
  }
}

void CheckRope(const AttentionProblem& problem) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
  const std::vector<int64_t>& q_positions = problem.q_positions;
  const std::vector<int64_t>& k_positions = problem.k_positions;
  const bool needed = problem.rope.has_value();
  if (needed || !k_positions.empty()) {
    CheckTokens("position_ids", k_positions, B, Skv, kMaxPosition);
  }
  if (needed || !q_positions.empty()) {
    CheckTokens("q_position_ids", q_positions, B, Sq, kMaxPosition);
  }
  if (!needed) return;
  const RopeConfig& rope = *problem.rope;
  if (rope.recipe.empty()) throw InputError("rope.recipe", "no name", "the name of a RoPE recipe");
  if (rope.rotary_dim < 2 || rope.rotary_dim > D || rope.rotary_dim % 2 != 0) {
    throw InputError("rope.rotary_dim", std::to_string(rope.rotary_dim),
                     fmt::format("an even number in 2..{}", D));
  }
  CheckPositive("rope.rope_theta", rope.rope_theta);
  CheckRopeScaling(rope);
  const int64_t last_position = LastPosition(problem);
  CheckRopeTables(rope, last_position);
  const bool by_length = rope.type == RopeType::kDynamic || rope.type == RopeType::kLongrope;
  if (by_length && rope.sequence_length != last_position + 1) {
    throw InputError("rope.sequence_length", std::to_string(rope.sequence_length),
                     fmt::format("{}, the greatest position plus one", last_position + 1));
  }
}

}  // namespace

// Two roundings, f64 then f32, and yet the result is 1/sqrt(D) rounded once: no D in 1..256 comes
// so near the middle between two f32 that the f64 error decides. Tested for each of them against
// MPFR.
int64_t LastPosition(const AttentionProblem& problem) {
  return std::max(std::ranges::max(problem.q_positions), std::ranges::max(problem.k_positions));
}

float DefaultSoftmaxScale(int64_t D) {
  assert(1 <= D && D <= kMaxHeadDim);
  return static_cast<float>(1.0 / std::sqrt(static_cast<double>(D)));
}

void Validate(const AttentionProblem& problem) {
  CheckTensors(problem);
  CheckMask(problem);
  if (!std::isfinite(problem.softmax_scale) || problem.softmax_scale <= 0) {
    throw InputError("softmax_scale", fmt::format("{}", problem.softmax_scale), "finite and > 0");
  }
  CheckRope(problem);
}

}  // namespace bitanchor
