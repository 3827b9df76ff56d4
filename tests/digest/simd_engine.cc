#include <stdexcept>

#include "simd/attention.h"
#include "simd/convert.h"
#include "simd/elementary.h"
#include "simd/matrix_unit.h"
#include "simd/rope.h"
#include "simd/scheduled_attention.h"
#include "simd/targets.h"
#include "tests/digest/engine.h"

namespace bitanchor::digest {
namespace {

class Simd : public Engine {
 public:
  explicit Simd(const simd::EngineOptions& options) : options_(options) {}

  bool Runs(Operation operation) const override { return operation != Operation::kDefinition; }

  void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                        const MutableTensorView& o, float* lse) override {
    simd::AttentionForward(problem, recipe, options_, o, lse);
  }

  void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                         const TensorView& dout, const AttentionGradients& out) override {
    simd::AttentionBackward(problem, recipe, options_,
                            simd::AttentionForwardRows(problem, recipe, options_), dout, out);
  }

  void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
                 const std::vector<int64_t>& positions, const MutableTensorView& out,
                 RopeDirection direction) override {
    simd::ApplyRope(config, recipe, in, positions, options_, out, direction);
  }

  void Exp(std::span<const float> x, std::span<float> y) override { simd::Exp(x, y, options_); }
  void SinCos(std::span<const float> angle, std::span<float> sin, std::span<float> cos) override {
    simd::SinCos(angle, sin, cos, options_);
  }
  void RoundToBF16(std::span<const float> in, std::span<uint16_t> out) override {
    simd::RoundToBF16(in, out, options_);
  }
  void MatMul(const matrix_unit::MatMul& product, std::byte* d, std::byte* undetermined) override {
    simd::MatMul(product, options_, d, undetermined);
  }
  Replayed Replay(const AttentionProblem& problem, const Schedule& schedule,
                  const replay::SpecialFunctions& functions) override {
    simd::ScheduledAnswer answer = simd::ScheduledAttention(problem, schedule, functions, options_);
    return {std::move(answer.o_low), std::move(answer.o_high), std::move(answer.lse_low),
            std::move(answer.lse_high)};
  }

 private:
  simd::EngineOptions options_;
};

}  // namespace

std::vector<std::string> SimdTargets() {
  std::vector<std::string> names;
  for (const simd::Target& target : simd::Targets()) names.push_back(target.name);
  return names;
}

std::unique_ptr<Engine> SimdEngine(const SimdChoice& choice) {
  simd::EngineOptions options;
  options.threads = choice.threads;
  options.key_block = choice.key_block;
  options.target = simd::TargetFromName(choice.target);
  if (options.target == 0) throw std::runtime_error("no target " + choice.target + " here");
  const std::string running = simd::RunningTarget(options.target);
  if (running != choice.target) {
    throw std::runtime_error("asked for " + choice.target + ", but what runs is " + running);
  }
  return std::make_unique<Simd>(options);
}

}  // namespace bitanchor::digest
