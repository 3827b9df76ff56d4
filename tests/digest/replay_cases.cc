#include <fmt/format.h>

#include "lib/recipe/schedule.h"
#include "lib/replay/special_functions.h"
#include "tests/digest/cases.h"
#include "tests/digest/draw.h"

namespace bitanchor::digest {
namespace {

struct Problem {
  AttentionShape shape;
  DType dtype = DType::kBF16;
  MaskSpec mask;
  Values queries_and_keys = Values::kNormal, values = Values::kNormal;
  float scale = 0;  // 0: RN_f32(1/sqrt(D))
  int ulp = 2;      // of exp2 and the reciprocal; 0: all functions correctly rounded
};

void Compute(const Problem& spec, const Schedule& schedule, Engine& engine, Results& results) {
  const auto [B, Sq, Skv, Hq, Hkv, D] = spec.shape;
  const Shape4 q_shape = {B, Sq, Hq, D}, k_shape = {B, Skv, Hkv, D};
  const auto q = DrawTensor(spec.queries_and_keys, spec.dtype, q_shape, 91);
  const auto k = DrawTensor(spec.queries_and_keys, spec.dtype, k_shape, 92);
  const auto v = DrawTensor(spec.values, spec.dtype, k_shape, 93);
  AttentionProblem problem;
  problem.shape = spec.shape;
  problem.dtype = spec.dtype;
  problem.q = DenseView(spec.dtype, q.data(), q_shape);
  problem.k = DenseView(spec.dtype, k.data(), k_shape);
  problem.v = DenseView(spec.dtype, v.data(), k_shape);
  problem.softmax_scale = spec.scale != 0 ? spec.scale : DefaultSoftmaxScale(D);
  problem.mask.spec = spec.mask;
  problem.mask.B = B;
  problem.mask.Sq = Sq;
  problem.mask.Skv = Skv;
  if (spec.mask.rule != MaskRule::kFull) {
    for (int64_t j = 0; j < B * Skv; ++j) {
      problem.mask.k_ids.push_back(j % Skv < 3 ? 0 : 1 + j % Skv / 29);
    }
    problem.mask.q_ids = problem.mask.k_ids;
  }
  Validate(problem);
  replay::SpecialFunctions functions;
  functions.ulp = spec.ulp;
  if (spec.ulp == 0) functions = replay::CorrectlyRounded();
  const Replayed answer = engine.Replay(problem, schedule, functions);
  for (const auto* o : {&answer.o_low, &answer.o_high}) results.Add(*o, spec.dtype);
  for (const auto* lse : {&answer.lse_low, &answer.lse_high}) results.Add(*lse);
}

}  // namespace

void AddReplayCases(std::vector<Case>& cases) {
  constexpr MaskSpec kFull{MaskRule::kFull, false, std::nullopt, Corner::kTopLeft};
  constexpr MaskSpec kCausal{MaskRule::kFull, true, std::nullopt, Corner::kBottomRight};
  constexpr MaskSpec kAnchor{MaskRule::kAnchor, true, std::nullopt, Corner::kTopLeft};
  constexpr AttentionShape kWide{1, 5, 150, 2, 1, 128}, kTall{1, 35, 35, 1, 1, 64};
  const std::vector<Problem> kUsual = {
      {kWide, DType::kBF16, kCausal},
      {kTall, DType::kF16, kAnchor},
      {kTall, DType::kBF16, kCausal, Values::kNormal, Values::kNormal, 0, 0},
      {{1, 3, 70, 1, 1, 64}, DType::kF16, kFull, Values::kInteger, Values::kInteger, 1, 3000},
  };
  const std::vector<Problem> kHostile = {
      {kWide, DType::kBF16, kFull, Values::kWide, Values::kWide},
      {kWide, DType::kF16, kCausal, Values::kNormal, Values::kSubnormal, 4},
      {kWide, DType::kBF16, kCausal, Values::kSubnormal, Values::kSubnormal, 1, 3000},
      {kWide, DType::kBF16, kCausal, Values::kHuge, Values::kNormal},
      {kTall, DType::kBF16, kCausal, Values::kNormal, Values::kRareSpecial},
  };
  for (const char* name : {"flash-attention-2/sm80", "flash-attention-2/sm90-mma"}) {
    const Schedule& schedule = *FindSchedule(name);
    const auto add = [&](const char* numbers, int finite_percent,
                         const std::vector<Problem>& problems) {
      cases.push_back({fmt::format("replay/{}/{}", name, numbers), Operation::kReplay,
                       finite_percent, [&schedule, problems](Engine& engine, Results& results) {
                         for (const Problem& problem : problems) {
                           Compute(problem, schedule, engine, results);
                         }
                       }});
    };
    add("usual", 100, kUsual);
    add("hostile", 40, kHostile);
  }
}

}  // namespace bitanchor::digest
