// One mistake that may explain an answer, and how much of it it does.
#ifndef BITANCHOR_TOOLS_HYPOTHESIS_H_
#define BITANCHOR_TOOLS_HYPOTHESIS_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/exact/mistaken_attention.h"
#include "lib/file/capture.h"
#include "lib/recipe/contract.h"
#include "tools/attention_start.h"
#include "tools/mistaken_rope.h"

namespace bitanchor::tools {

// A kernel that made a mistake, or a capture that misstates what a right one answered.
struct Hypothesis {
  std::string id, where;
  exact::MistakenAttention kernel;
  Contract contract;
  std::optional<LseSpec> lse_spec = std::nullopt;  // how LSE is stated, instead of the capture's
  bool other_16_bits = false;  // o's bits are those of the other 16-bit type than its label's
  // What the kernel's q and k, or those that it moved, lie in.
  std::shared_ptr<const MistakenRotation> rotation = nullptr;
};

// Mistakes of RoPE that o and lse may show: those whose rotation the capture does not hold.
std::vector<RopeMistake> RotationMistakes(const Capture& capture);

// A kernel that rotates so. The freedom of libm is as large as in the right rotation.
Hypothesis RotationHypothesis(const Capture& capture, const Contract& contract,
                              const AttentionStart& start, const RopeMistake& mistake);

// Elements of o and lse at some rows of a capture.
struct Sample {
  std::vector<exact::RowPlace> rows;
  std::vector<std::vector<uint8_t>> wrong;   // of each row [D + 1], o's elements and then LSE, by
                                             // what the right kernel may answer
  int64_t elements = 0, wrong_elements = 0;  // that the capture holds and something decides
};
Sample SampleOf(const Capture& capture, const AttentionStart& right,
                std::vector<exact::RowPlace> rows);

struct Explained {
  int64_t inside = 0, judged = 0;       // elements that the mistaken kernel may answer; that say so
  int64_t wrong_inside = 0, wrong = 0;  // of those that are wrong

  // The share of the answer that the mistake accounts for: of all elements, or of the wrong ones if
  // that is less. Intervals that would admit nearly anything count for nothing; 0 where that leaves
  // less than half of all, or of the wrong ones.
  double Share() const;
};
Explained Try(const Capture& capture, const Hypothesis& hypothesis, const Sample& sample,
              const simd::EngineOptions& options);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_HYPOTHESIS_H_
