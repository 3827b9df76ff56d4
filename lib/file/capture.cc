#include "lib/file/capture.h"

#include <fmt/format.h>

#include <utility>

#include "lib/file/capture_metadata.h"
#include "lib/file/capture_tensors.h"
#include "lib/file/capture_writer.h"
#include "lib/file/printable.h"
#include "lib/tensor/error.h"

namespace bitanchor {
namespace {

// k's and v's shapes agree with q's before anything is measured by them.
void ReadProblemTensors(Capture& capture) {
  const SafetensorsFile& file = capture.file;
  AttentionProblem& problem = capture.problem;
  problem.q = ReadHeads(Required(file, "q"), capture.layout);
  const TensorView k = ReadHeads(Required(file, "k"), capture.layout);
  Required(file, "v");
  const auto [B, Sq, Hq, D] = problem.q.shape;
  const int64_t Skv = k.shape[1], Hkv = k.shape[2];
  const Shape4 key_shape = {B, Skv, Hkv, D};
  problem.k = ReadAnswer(file, "k", capture.layout, key_shape);
  problem.v = ReadAnswer(file, "v", capture.layout, key_shape);
  problem.dtype = problem.q.dtype;
  problem.shape = {B, Sq, Skv, Hq, Hkv, D};
  problem.mask.B = B;
  problem.mask.Sq = Sq;
  problem.mask.Skv = Skv;
}

// Tensors that mean nothing without another thing are mistakes.
void RefuseWithout(const SafetensorsFile& file, bool has, const std::string& other,
                   std::initializer_list<const char*> names) {
  for (const char* name : names) {
    if (has || file.Find(name) == nullptr) continue;
    throw InputError(name, "a tensor", "none without " + other);
  }
}

// Recipes store q and k as rotated in their own dtype or in F32.
void CheckRotated(const char* name, const TensorView& rotated, DType dtype) {
  if (!rotated || rotated.dtype == dtype || rotated.dtype == DType::kF32) return;
  throw InputError(name, std::string(DTypeName(rotated.dtype)),
                   std::string(DTypeName(dtype)) + ", as q has, or F32");
}

void ReadForwardAnswers(Capture& capture) {
  const SafetensorsFile& file = capture.file;
  const AttentionProblem& problem = capture.problem;
  capture.o = ReadAnswer(file, "o", capture.layout, problem.q.shape);
  capture.lse = ReadRows(file, "lse", capture.layout, problem.shape);
  RefuseWithout(file, problem.rope.has_value(), "rope in the metadata",
                {"q_rope", "k_rope", "cos", "sin", "inv_freq"});
  capture.q_rope = ReadAnswer(file, "q_rope", capture.layout, problem.q.shape);
  capture.k_rope = ReadAnswer(file, "k_rope", capture.layout, problem.k.shape);
  CheckRotated("q_rope", capture.q_rope, problem.dtype);
  CheckRotated("k_rope", capture.k_rope, problem.dtype);
}

void ReadBackwardAnswers(Capture& capture) {
  const SafetensorsFile& file = capture.file;
  const AttentionProblem& problem = capture.problem;
  capture.dout = ReadAnswer(file, "do", capture.layout, problem.q.shape);
  if (capture.dout && capture.o && capture.dout.dtype != capture.o.dtype) {
    throw InputError("do", std::string(DTypeName(capture.dout.dtype)),
                     std::string(DTypeName(capture.o.dtype)) + ", as o has");
  }
  RefuseWithout(file, static_cast<bool>(capture.dout), "do", {"dq", "dk", "dv", "delta"});
  capture.dq = ReadAnswer(file, "dq", capture.layout, problem.q.shape);
  capture.dk = ReadAnswer(file, "dk", capture.layout, problem.k.shape);
  capture.dv = ReadAnswer(file, "dv", capture.layout, problem.v.shape);
  capture.delta = ReadRows(file, "delta", capture.layout, problem.shape);
}

// D, which is the last axis in every layout; the metadata's defaults depend on it.
int64_t HeadDim(const SafetensorsFile& file) {
  const TensorEntry& q = Required(file, "q");
  if (q.shape.empty()) throw InputError("q", "shape []", "[B, S, H, D]");
  const int64_t D = q.shape.back();
  if (D <= kMaxHeadDim) return D;
  throw InputError("q", fmt::format("head dimension {}", D), fmt::format("1..{}", kMaxHeadDim));
}

}  // namespace

bool Capture::HasAnswer() const { return o || lse || q_rope || k_rope || dq || dk || dv || delta; }

Capture ReadCapture(const std::string& path) { return ReadCapture(SafetensorsFile::Open(path)); }

Capture ReadCapture(SafetensorsFile file) {
  Capture capture;
  capture.file = std::move(file);
  CheckTensorNames(capture.file);
  const StringMap& metadata = capture.file.metadata();
  const auto text = metadata.find(kCaptureKey);
  CaptureSpec spec =
      ReadCaptureSpec(text == metadata.end() ? "{}" : text->second, HeadDim(capture.file));
  capture.layout = spec.layout;
  capture.kernel = std::move(spec.kernel);
  capture.lse_spec = spec.lse;
  capture.defaults = std::move(spec.defaults);
  ReadProblemTensors(capture);
  capture.problem.mask.spec = spec.mask;
  capture.problem.softmax_scale = spec.softmax_scale;
  capture.problem.rope = std::move(spec.rope);
  ReadForwardAnswers(capture);
  ReadBackwardAnswers(capture);
  if (capture.lse) {
    capture.defaults.insert(capture.defaults.end(), spec.lse_defaults.begin(),
                            spec.lse_defaults.end());
  }
  ReadTokens(capture);
  if (capture.problem.rope) {
    RopeConfig& rope = *capture.problem.rope;
    ReadRopeTables(capture.file, rope);
    rope.sequence_length = LastPosition(capture.problem) + 1;
  }
  Validate(capture.problem);
  return capture;
}

}  // namespace bitanchor
