#include "lib/file/capture_writer.h"

#include <cassert>
#include <cmath>
#include <nlohmann/json.hpp>

#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

using Json = nlohmann::ordered_json;

Json LseJson(const LseSpec& lse) {
  Json json;
  json["base"] = lse.base == LseBase::kE ? "e" : "2";
  json["scaled"] = lse.scaled;
  if (std::isfinite(lse.empty)) {
    json["empty"] = lse.empty;
  } else if (std::isnan(lse.empty)) {
    json["empty"] = "nan";
  } else {
    json["empty"] = lse.empty < 0 ? "-inf" : "+inf";
  }
  return json;
}

template <typename T>
std::span<const std::byte> BytesOf(const std::vector<T>& values) {
  return std::as_bytes(std::span(values));
}

}  // namespace

Json MaskJson(const MaskSpec& mask) {
  Json json;
  json["rule"] = Name(mask.rule);
  json["causal"] = mask.causal;
  json["window_keys"] = mask.window_keys ? Json(*mask.window_keys) : Json();
  json["corner"] = Name(mask.corner);
  return json;
}

// The reader refuses what the rope type does not use.
Json RopeJson(const RopeConfig& rope) {
  Json json;
  json["rope_type"] = Name(rope.type);
  json["rope_theta"] = rope.rope_theta;
  json["rotary_dim"] = rope.rotary_dim;
  json["pairing"] = Name(rope.pairing);
  json["recipe"] = rope.recipe;
  if (rope.type != RopeType::kDefault) json["factor"] = rope.factor;
  if (rope.type == RopeType::kDynamic) {
    json["max_position_embeddings"] = rope.max_position_embeddings;
  }
  if (rope.type == RopeType::kYarn) {
    json["beta_fast"] = rope.beta_fast;
    json["beta_slow"] = rope.beta_slow;
    json["truncate"] = rope.truncate;
    json["mscale"] = rope.mscale;
    json["mscale_all_dim"] = rope.mscale_all_dim;
  }
  if (rope.type == RopeType::kLongrope) {
    json["short_factor"] = rope.short_factor;
    json["long_factor"] = rope.long_factor;
  }
  if (rope.attention_factor) json["attention_factor"] = *rope.attention_factor;
  if (rope.type == RopeType::kYarn || rope.type == RopeType::kLongrope) {
    json["original_max_position_embeddings"] = rope.original_max_position_embeddings;
  }
  if (rope.type == RopeType::kLlama3) {
    json["low_freq_factor"] = rope.low_freq_factor;
    json["high_freq_factor"] = rope.high_freq_factor;
    json["original_max_position_embeddings"] = rope.original_max_position_embeddings;
  }
  return json;
}

std::string CaptureMetadata(const AttentionProblem& problem, Layout layout,
                            const std::string& kernel, const LseSpec& lse) {
  Json json;
  json["version"] = 1;
  json["kernel"] = kernel;
  json["layout"] = Name(layout);
  json["mask"] = MaskJson(problem.mask.spec);
  json["softmax_scale"] = problem.softmax_scale;  // widened to f64, so that it reads back the same
  if (problem.rope) json["rope"] = RopeJson(*problem.rope);
  json["lse"] = LseJson(lse);
  try {
    return json.dump();
  } catch (const Json::type_error&) {
    throw InputError("kernel", "text that is not UTF-8", "UTF-8");
  }
}

OutTensor OutView(const std::string& name, const TensorView& view, Layout layout) {
  assert(view && view.stride == DenseStrides(view.shape, layout));
  const auto [B, S, H, D] = view.shape;
  assert(layout != Layout::kTHD || B == 1);
  std::vector<int64_t> shape = {B, S, H, D};
  if (layout == Layout::kBHSD) shape = {B, H, S, D};
  if (layout == Layout::kTHD) shape = {S, H, D};
  const size_t bytes = static_cast<size_t>(view.Elements()) * DTypeBytes(view.dtype);
  return {name, view.dtype, shape, {view.data, bytes}};
}

OutTensor OutIds(const std::string& name, const std::vector<int64_t>& ids, int64_t B,
                 Layout layout) {
  const int64_t tokens = static_cast<int64_t>(ids.size());
  assert(B >= 1 && tokens % B == 0);
  std::vector<int64_t> shape = {B, tokens / B};
  if (layout == Layout::kTHD) shape = {tokens};
  return {name, DType::kI64, shape, BytesOf(ids)};
}

OutTensor OutLse(std::span<const float> lse, const AttentionShape& shape, Layout layout) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = shape;
  assert(static_cast<int64_t>(lse.size()) == B * Hq * Sq);
  std::vector<int64_t> sizes = {B, Hq, Sq};
  if (layout == Layout::kTHD) sizes = {Hq, Sq};
  return {"lse", DType::kF32, sizes, std::as_bytes(lse)};
}

std::vector<OutTensor> ProblemTensors(const AttentionProblem& problem, Layout layout) {
  std::vector<OutTensor> tensors = {OutView("q", problem.q, layout),
                                    OutView("k", problem.k, layout),
                                    OutView("v", problem.v, layout)};
  const auto add_ids = [&](const char* name, const std::vector<int64_t>& ids) {
    if (!ids.empty()) tensors.push_back(OutIds(name, ids, problem.shape.B, layout));
  };
  add_ids("document_ids", problem.mask.k_ids);
  add_ids("q_document_ids", problem.mask.q_ids);
  add_ids("position_ids", problem.k_positions);
  add_ids("q_position_ids", problem.q_positions);
  if (!problem.rope) return tensors;
  const RopeConfig& rope = *problem.rope;
  const int64_t pairs = rope.rotary_dim / 2;
  const auto add_table = [&](const char* name, const std::vector<float>& table,
                             std::vector<int64_t> shape) {
    if (!table.empty()) tensors.push_back({name, DType::kF32, std::move(shape), BytesOf(table)});
  };
  const int64_t positions = static_cast<int64_t>(rope.cos.size()) / pairs;
  add_table("cos", rope.cos, {positions, pairs});
  add_table("sin", rope.sin, {positions, pairs});
  add_table("inv_freq", rope.inv_freq, {pairs});
  return tensors;
}

}  // namespace bitanchor
