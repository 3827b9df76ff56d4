// Wiring of `check`: from a capture to a verdict, by contract or by replay.
#ifndef BITANCHOR_TOOLS_JUDGE_H_
#define BITANCHOR_TOOLS_JUDGE_H_

#include <string>

#include "lib/file/capture.h"
#include "lib/recipe/attention_recipe.h"
#include "lib/recipe/contract.h"
#include "lib/verdict/verdict.h"
#include "simd/options.h"
#include "tools/judge_rows.h"

namespace bitanchor::tools {

// Throws InputError where the capture of this path holds nothing to judge.
void RequireAnswer(const Capture& capture, const std::string& path);

// A census of o, or of LSE (natural, scaled), and the biases that a contract says something about.
OutputVerdict VerdictOfO(const Contract& contract, int64_t Skv, const Census& census);
OutputVerdict VerdictOfLse(const Contract& contract, int64_t Skv, const Census& census);

// A census of a tensor that has to have the bits of another, and of what the capture lacks.
OutputVerdict VerdictOfBits(const std::string& name, const TensorView& got, const TensorView& want);
void NoteAbsent(const Capture& capture, Verdict& verdict);

// Each answer against the interval that the contract leaves around the exact centre. o and lse
// start from the capture's q_rope and k_rope where it has them; where it has rope without them,
// from the recipe's rotation, whose freedom (sin and cos within contract.libm_ulp) widens the
// intervals.
Verdict JudgeByContract(const Capture& capture, const Contract& contract,
                        const SampleOptions& sample, const simd::EngineOptions& options);

// Each answer against the bits of the recipe.
Verdict JudgeByReplay(const Capture& capture, const AttentionRecipe& recipe,
                      const simd::EngineOptions& options);

// Adds to a verdict what follows from it and from the problem, whatever the way of judging: why
// this problem cannot tell right from wrong (of RoPE's answers alone, if they are all that was
// judged), and where the wrong elements are. Each way of judging does so itself.
void Conclude(const Capture& capture, Verdict& verdict);

}  // namespace bitanchor::tools

#endif  // BITANCHOR_TOOLS_JUDGE_H_
