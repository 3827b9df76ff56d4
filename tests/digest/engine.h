// What a case may ask of an engine, and the engines there are.
#ifndef BITANCHOR_TESTS_DIGEST_ENGINE_H_
#define BITANCHOR_TESTS_DIGEST_ENGINE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/matrix_unit/matmul.h"
#include "lib/problem/attention_problem.h"
#include "lib/recipe/attention_recipe.h"
#include "lib/recipe/rope_recipe.h"
#include "lib/recipe/schedule.h"
#include "lib/replay/special_functions.h"

namespace bitanchor::digest {

// The operations that exist once per engine. kDefinition: everything else, which is lib/ alone and
// which the definition computes for all of them.
enum class Operation {
  kAttention,
  kAttentionBackward,
  kRope,
  kExp,
  kSinCos,
  kRoundToBF16,
  kMatMul,
  kReplay,
  kDefinition
};

// The least and greatest answers of a schedule.
struct Replayed {
  std::vector<uint16_t> o_low, o_high;   // [B, Sq, Hq, D]
  std::vector<float> lse_low, lse_high;  // [B, Hq, Sq]
};

class Engine {
 public:
  virtual ~Engine() = default;

  // Whether the engine has code of its own for the operation. Cases of others are not asked of it.
  virtual bool Runs(Operation operation) const = 0;

  virtual void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                                const MutableTensorView& o, float* lse) = 0;
  virtual void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                                 const TensorView& dout, const AttentionGradients& out) = 0;
  virtual void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
                         const std::vector<int64_t>& positions, const MutableTensorView& out,
                         RopeDirection direction) = 0;
  virtual void Exp(std::span<const float> x, std::span<float> y) = 0;
  virtual void SinCos(std::span<const float> angle, std::span<float> sin, std::span<float> cos) = 0;
  virtual void RoundToBF16(std::span<const float> in, std::span<uint16_t> out) = 0;
  // d and undetermined: as matrix_unit::PredictBlock writes them.
  virtual void MatMul(const matrix_unit::MatMul& product, std::byte* d,
                      std::byte* undetermined) = 0;
  virtual Replayed Replay(const AttentionProblem& problem, const Schedule& schedule,
                          const replay::SpecialFunctions& functions) = 0;
};

std::unique_ptr<Engine> ScalarEngine();  // the definition

struct SimdChoice {
  std::string target;
  int threads = 1;
  int64_t key_block = 64;
};

// Below: simd/'s, or, in a build without it, nothing.

std::vector<std::string> SimdTargets();  // compiled in and usable on this CPU, best first
// Throws std::runtime_error unless the code that will run says itself that it is choice.target.
std::unique_ptr<Engine> SimdEngine(const SimdChoice& choice);

}  // namespace bitanchor::digest

#endif  // BITANCHOR_TESTS_DIGEST_ENGINE_H_
