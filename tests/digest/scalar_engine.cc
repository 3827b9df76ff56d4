#include "lib/number/elementary.h"
#include "lib/number/float_environment.h"
#include "lib/replay/scheduled_attention.h"
#include "lib/scalar/attention.h"
#include "lib/scalar/rope.h"
#include "tests/digest/engine.h"

namespace bitanchor::digest {
namespace {

class Scalar : public Engine {
 public:
  bool Runs(Operation) const override { return true; }

  void AttentionForward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                        const MutableTensorView& o, float* lse) override {
    scalar::AttentionForward(problem, recipe, o, lse);
  }

  void AttentionBackward(const AttentionProblem& problem, const AttentionRecipe& recipe,
                         const TensorView& dout, const AttentionGradients& out) override {
    scalar::AttentionBackward(problem, recipe, dout, out);
  }

  void ApplyRope(const RopeConfig& config, const RopeRecipe& recipe, const TensorView& in,
                 const std::vector<int64_t>& positions, const MutableTensorView& out,
                 RopeDirection direction) override {
    scalar::ApplyRope(config, recipe, in, positions, out, direction);
  }

  void Exp(std::span<const float> x, std::span<float> y) override {
    const FloatEnvironment environment;
    for (size_t i = 0; i < x.size(); ++i) y[i] = number::Exp(x[i]);
  }

  void SinCos(std::span<const float> angle, std::span<float> sin, std::span<float> cos) override {
    const FloatEnvironment environment;
    for (size_t i = 0; i < angle.size(); ++i) {
      sin[i] = number::Sin(angle[i]);
      cos[i] = number::Cos(angle[i]);
    }
  }

  void RoundToBF16(std::span<const float> in, std::span<uint16_t> out) override {
    for (size_t i = 0; i < in.size(); ++i) out[i] = ToBF16(in[i]).bits;
  }

  void MatMul(const matrix_unit::MatMul& product, std::byte* d, std::byte* undetermined) override {
    const FloatEnvironment environment;
    for (int64_t g = 0; g < product.G; ++g) {
      matrix_unit::PredictBlock(product, {g, 0, 0, product.M, product.N}, d, undetermined);
    }
  }

  Replayed Replay(const AttentionProblem& problem, const Schedule& schedule,
                  const replay::SpecialFunctions& functions) override {
    const FloatEnvironment environment;
    const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
    const size_t rows = static_cast<size_t>(B * Sq * Hq), elements = rows * static_cast<size_t>(D);
    Replayed answer{std::vector<uint16_t>(elements), std::vector<uint16_t>(elements),
                    std::vector<float>(rows), std::vector<float>(rows)};
    for (const replay::Sequence& sequence : replay::SequencesOf(problem, schedule)) {
      for (size_t n = 0; n < sequence.queries.size(); ++n) {
        if (!sequence.answers[n]) continue;
        for (int64_t h = 0; h < Hq; ++h) {
          const replay::ScheduledRow row =
              replay::AnswerOf(problem, schedule, functions, sequence, h, static_cast<int64_t>(n));
          const int64_t query = sequence.queries[n];
          size_t at = static_cast<size_t>(((sequence.b * Sq + query) * Hq + h) * D);
          for (const replay::Admissible& o : row.o) {
            answer.o_low[at] = Bits(problem.dtype, o.low);
            answer.o_high[at++] = Bits(problem.dtype, o.high);
          }
          at = static_cast<size_t>((sequence.b * Hq + h) * Sq + query);
          answer.lse_low[at] = Canonical(row.lse.low);
          answer.lse_high[at] = Canonical(row.lse.high);
        }
      }
    }
    return answer;
  }

 private:
  static uint16_t Bits(DType dtype, float x) {
    return dtype == DType::kBF16 ? ToBF16(x).bits : ToF16(x).bits;
  }
};

}  // namespace

std::unique_ptr<Engine> ScalarEngine() { return std::make_unique<Scalar>(); }

}  // namespace bitanchor::digest
