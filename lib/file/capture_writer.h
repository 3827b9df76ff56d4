// The pieces of a capture for WriteSafetensors.
#ifndef BITANCHOR_LIB_FILE_CAPTURE_WRITER_H_
#define BITANCHOR_LIB_FILE_CAPTURE_WRITER_H_

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "lib/file/capture.h"
#include "lib/file/safetensors.h"
#include "lib/problem/attention_problem.h"

namespace bitanchor {

// The key of __metadata__ under which CaptureMetadata's text belongs.
inline constexpr char kCaptureKey[] = "bitanchor";

// The metadata with every field that applies written out, so that reading it takes no default.
// Throws InputError where `kernel` is not UTF-8.
std::string CaptureMetadata(const AttentionProblem& problem, Layout layout,
                            const std::string& kernel, const LseSpec& lse = {});

// Its parts: every field written out, of rope those that its type uses and none of the tables.
nlohmann::ordered_json MaskJson(const MaskSpec& mask);
nlohmann::ordered_json RopeJson(const RopeConfig& rope);

// The tensors below borrow their argument's memory.

// `view` must be dense in `layout` (asserted); thd also needs B = 1.
OutTensor OutView(const std::string& name, const TensorView& view, Layout layout);

// Ids or positions [B, S] as I64, [T] in layout thd. ids.size() is a multiple of B (asserted).
OutTensor OutIds(const std::string& name, const std::vector<int64_t>& ids, int64_t B,
                 Layout layout);

// lse [B, Hq, Sq] as F32, [Hq, T] in layout thd.
OutTensor OutLse(std::span<const float> lse, const AttentionShape& shape, Layout layout);

// All that `problem` holds besides its metadata: q, k, v, the ids and positions of keys and queries
// where it has them, and the given tables of its RoPE (as F32). Not cu_seqlens, which a file in
// layout thd needs besides. q, k and v must be dense in `layout`.
std::vector<OutTensor> ProblemTensors(const AttentionProblem& problem, Layout layout);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_CAPTURE_WRITER_H_
