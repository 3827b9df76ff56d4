// Goldens: what a problem's answer must be, kept in a folder as text that fits a review.
//
// A golden NAME is the file NAME.json, one field a line, every field always there:
//
//   {
//     "version": 1,
//     "name": "anchor-bf16",            as the file: lower-case letters, digits, '-' and '_', <= 64
//     "generator": "gen-1",             lib/problem/generate.h; or "capture": the problem is a file
//     "seed": 7,                        gen-1 only; 0..2^64-1
//     "documents": [50, 100, 50],       gen-1 only: lib/problem/problem_spec.h; []: one
//     "reset_positions": false,         gen-1 only
//     "do": true,                       whether the problem has do, and the answer gradients
//     "recipe": "textbook",             lib/recipe/attention_recipe.h
//     "dtype": "BF16",                  of q, k and v
//     "shape": {"B": 1, "Sq": 200, "Skv": 200, "Hq": 4, "Hkv": 2, "D": 64},
//     "mask": {...},                    as in a capture's metadata
//     "softmax_scale": 0.125,
//     "rope": {...},                    as in a capture's metadata; null: none
//     "tensors": false,                 whether NAME.problem.safetensors (a capture file) and
//                                       NAME.outputs.safetensors are beside it
//     "inputs": {"q": {"dtype": "BF16", "shape": [1, 200, 4, 64], "sha256": "..."}, ...},
//     "outputs": {"o": {...}, "lse": {...}, ...}
//   }
//
// sha256: of the tensor's elements, little-endian, contiguous in layout bshd whatever the problem's
// own: [B, S, H, D], lse [B, Hq, Sq], ids and positions I64 [B, S]. inputs: everything that the
// problem consists of beside the fields above, drawn or given. outputs: o and lse; with rope q_rope
// and k_rope; with do dq, dk and dv. Nothing in it depends on the machine that made it.
#ifndef BITANCHOR_LIB_FILE_GOLDEN_H_
#define BITANCHOR_LIB_FILE_GOLDEN_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "lib/file/safetensors.h"
#include "lib/problem/problem_spec.h"
#include "lib/tensor/dtype.h"

namespace bitanchor {

struct TensorDigest {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<int64_t> shape;
  std::string sha256;  // 64 lower-case digits
};

// Of a tensor contiguous in layout bshd.
TensorDigest DigestOf(const OutTensor& tensor);

inline constexpr std::string_view kCaptureGenerator = "capture";

struct Golden {
  std::string name;
  std::string generator;  // kGen1Name or kCaptureGenerator
  std::string recipe;
  ProblemSpec problem;   // of a capture without documents, reset_positions and seed
  bool tensors = false;  // whether they are stored
  std::vector<TensorDigest> inputs, outputs;
};

bool IsGoldenName(std::string_view name);

// The files of a golden in its folder.
std::string GoldenPath(const std::string& folder, const std::string& name);
std::string GoldenProblemPath(const std::string& folder, const std::string& name);
std::string GoldenOutputsPath(const std::string& folder, const std::string& name);

// The text of NAME.json. Equal goldens give equal texts.
std::string GoldenText(const Golden& golden);

// Reads a text that says exactly what GoldenText could: spacing and the order of keys are free,
// nothing else is. Throws InputError naming the field. A problem that cannot be, or is too large,
// is the business of whoever draws it; sizes and the names, dtypes and shapes of outputs are
// checked here.
Golden ParseGolden(std::string_view text);

// All goldens of a folder, by name. Throws InputError, its field beginning with the path of the
// file, where one cannot be read, where tensors are missing that a golden says it has or lie there
// without a golden that says so, and where the folder has no golden at all. Files that end neither
// in .json nor in .safetensors are let be.
std::vector<Golden> ReadGoldens(const std::string& folder);

// A field, as "outputs.o.sha256", in which two goldens differ; "none" where one lacks it.
struct GoldenDifference {
  std::string field, got, want;
};
std::vector<GoldenDifference> Differences(const Golden& got, const Golden& want);

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_FILE_GOLDEN_H_
