#include "tools/judge_rules.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <mutex>
#include <sstream>

#include "lib/exact/attention_interval.h"
#include "lib/exact/eager_attention.h"
#include "lib/recipe/contract.h"
#include "lib/tensor/error.h"
#include "simd/parallel.h"
#include "simd/rope.h"
#include "tools/compute.h"
#include "tools/judge.h"
#include "tools/judge_gradients.h"

namespace bitanchor::tools {
namespace {

constexpr std::array kPaths = {EagerPath::kAttentionRef, EagerPath::kFlexMath};
using EagerRows = std::array<const float*, kPaths.size()>;  // by path; null where nobody needs it

std::string Names(const std::vector<const Rule*>& rules) {
  std::vector<std::string_view> names;
  for (const Rule* rule : rules) names.push_back(rule->name);
  return fmt::format("{}", fmt::join(names, ","));
}

// One output as all rules see it.
class Tallies {
 public:
  Tallies(const std::vector<const Rule*>& rules, DType dtype, RuleOutput output) : rules_(rules) {
    for (const Rule* rule : rules) tallies_.emplace_back(*rule, dtype, output);
  }

  bool Needs(EagerPath path) const {
    for (size_t r = 0; r < rules_.size(); ++r) {
      if (tallies_[r].Judges() && rules_[r]->eager == path) return true;
    }
    return false;
  }

  void AddRow(const float* got, const Interval* want, const EagerRows& eager, int64_t n,
              int64_t keys) {
    for (size_t r = 0; r < rules_.size(); ++r) {
      const auto path = rules_[r]->eager;
      const float* yardstick = path ? eager[static_cast<size_t>(*path)] : nullptr;
      if (tallies_[r].Judges()) tallies_[r].AddRow(got, want, yardstick, n, keys);
    }
  }

  void Merge(const Tallies& other) {
    for (size_t r = 0; r < rules_.size(); ++r) tallies_[r].Merge(other.tallies_[r]);
  }

  void Report(const std::string& output, Verdict& verdict) const {
    std::vector<const Rule*> silent;
    for (size_t r = 0; r < rules_.size(); ++r) {
      if (!tallies_[r].Judges()) {
        silent.push_back(rules_[r]);
      } else if (tallies_[r].elements() == 0) {
        verdict.not_judged.push_back(
            fmt::format("{} by {} (no element is determined)", output, rules_[r]->name));
      } else {
        verdict.rules.push_back(tallies_[r].Decide(output));
      }
    }
    if (!silent.empty()) {
      verdict.not_judged.push_back(
          fmt::format("{} by {} (the rule says nothing about it)", output, Names(silent)));
    }
  }

 private:
  const std::vector<const Rule*>& rules_;
  std::vector<RuleTally> tallies_;
};

class RuleJudge {
 public:
  RuleJudge(const Capture& capture, const std::vector<const Rule*>& rules,
            const SampleOptions& sample, const simd::EngineOptions& options)
      : capture_(capture),
        rules_(rules),
        sample_(sample),
        options_(options),
        contract_(DefaultContract(capture.problem.dtype)),
        rotated_(Rotate(capture.problem, capture.layout, Engine::kSimd, options)) {
    if (capture.q_rope) rotated_.problem.q = capture.q_rope;
    if (capture.k_rope) rotated_.problem.k = capture.k_rope;
    problem_.problem = rotated_.problem;
    problem_.o_dtype = capture.o ? capture.o.dtype : capture.problem.dtype;
  }

  Verdict Judge() {
    Verdict verdict{"rule", Names(rules_), {}, {}};
    if (capture_.o || capture_.lse) Forward(verdict);
    if (capture_.dq || capture_.dk || capture_.dv) Backward(verdict);
    const auto alone = [&](bool present, const char* name) {
      if (present) verdict.not_judged.push_back(fmt::format("{} (no rule speaks of it)", name));
    };
    alone(bool{capture_.q_rope}, "q_rope");
    alone(bool{capture_.k_rope}, "k_rope");
    alone(bool{capture_.delta}, "delta");
    return verdict;
  }

 private:
  using Eager = std::unique_ptr<const exact::EagerAttention>;

  Eager MakeEager(EagerPath path) const {
    return std::make_unique<const exact::EagerAttention>(rotated_.problem, path);
  }

  void Forward(Verdict& verdict) const {
    const AttentionShape& shape = problem_.problem.shape;
    const Tallies o(rules_, problem_.o_dtype, RuleOutput::kO);
    const Tallies lse(rules_, DType::kF32, RuleOutput::kLse);
    std::array<Eager, kPaths.size()> eager;
    for (const EagerPath path : kPaths) {
      if (capture_.o && o.Needs(path)) eager[static_cast<size_t>(path)] = MakeEager(path);
    }
    const std::vector<RowBlock> blocks = RowBlocks(shape.B, shape.Hq, shape.Sq, sample_);
    std::vector<std::pair<Tallies, Tallies>> partial(simd::Workers(options_), {o, lse});
    simd::ParallelFor(options_, static_cast<int64_t>(blocks.size()), [&](int64_t task, int worker) {
      ForwardBlock(blocks[task], eager, partial[worker].first, partial[worker].second);
    });
    for (size_t worker = 1; worker < partial.size(); ++worker) {
      partial[0].first.Merge(partial[worker].first);
      partial[0].second.Merge(partial[worker].second);
    }
    if (capture_.o) partial[0].first.Report("o", verdict);
    if (capture_.lse) partial[0].second.Report("lse", verdict);
  }

  void ForwardBlock(const RowBlock& block, const std::array<Eager, kPaths.size()>& eager,
                    Tallies& o, Tallies& lse) const {
    const int64_t D = problem_.problem.shape.D, keys = problem_.problem.shape.Skv;
    IntervalBlock want;
    exact::AttentionIntervals(problem_, contract_, block.b, block.h, block.s0, block.rows, want);
    std::vector<float> got(D);
    std::array<std::vector<float>, kPaths.size()> yardsticks;
    for (int64_t n = 0; n < block.rows; ++n) {
      const int64_t i = block.s0 + n;
      if (capture_.o) {
        EagerRows rows = {};
        for (size_t path = 0; path < kPaths.size(); ++path) {
          if (!eager[path]) continue;
          yardsticks[path].resize(D);
          eager[path]->Row(block.b, block.h, i, yardsticks[path].data());
          rows[path] = yardsticks[path].data();
        }
        for (int64_t d = 0; d < D; ++d) got[d] = capture_.o.At(block.b, i, block.h, d);
        o.AddRow(got.data(), &want.o[n * D], rows, D, keys);
      }
      if (capture_.lse) {
        const bool empty = OfEmptyRow(want.lse[n]);
        const float row = NaturalLse(capture_.lse_spec, capture_.lse.At(block.b, block.h, i),
                                     problem_.problem.softmax_scale, empty);
        lse.AddRow(&row, &want.lse[n], {}, 1, keys);
      }
    }
  }

  // The gradients of a path, of q, k and v as the problem gives them.
  Gradients EagerGradients(EagerPath path) const {
    const AttentionProblem& problem = capture_.problem;
    const auto [B, Sq, Skv, Hq, Hkv, D] = problem.shape;
    Gradients out{OwnedTensor(problem.dtype, problem.q.shape, capture_.layout),
                  OwnedTensor(problem.dtype, problem.k.shape, capture_.layout),
                  OwnedTensor(problem.dtype, problem.v.shape, capture_.layout)};
    const Eager eager = MakeEager(path);
    const int64_t group = Hq / Hkv;
    simd::ParallelFor(options_, B * Hkv,
                      [&, Sq = Sq, Skv = Skv, Hkv = Hkv, D = D](int64_t task, int) {
                        const int64_t b = task / Hkv, h = task % Hkv;
                        const auto part = eager->Backward(capture_.dout, b, h);
                        for (int64_t g = 0; g < group; ++g) {
                          for (int64_t i = 0; i < Sq; ++i)
                            StoreRow(out.dq.view, b, i, h * group + g, &part.dq[(g * Sq + i) * D]);
                        }
                        for (int64_t j = 0; j < Skv; ++j) {
                          StoreRow(out.dk.view, b, j, h, &part.dk[j * D]);
                          StoreRow(out.dv.view, b, j, h, &part.dv[j * D]);
                        }
                      });
    if (problem.rope) TurnBack(*problem.rope, out, options_);
    return out;
  }

  void TurnBack(const RopeConfig& rope, const Gradients& gradients,
                const simd::EngineOptions& options) const {
    const RopeRecipe& recipe = *FindRopeRecipe(rope.recipe);
    const auto turn = [&](const OwnedTensor& x, const std::vector<int64_t>& positions) {
      simd::ApplyRope(rope, recipe, x.view, positions, options, x.view, RopeDirection::kBackward);
    };
    turn(gradients.dq, capture_.problem.q_positions);
    turn(gradients.dk, capture_.problem.k_positions);
  }

  void Backward(Verdict& verdict) const {
    struct Output {
      std::string name;
      TensorView got;
      OwnedTensor Gradients::*eager;
      Tallies tallies;
    };
    std::vector<Output> outputs;
    const auto add = [&](const char* name, const TensorView& got, OwnedTensor Gradients::*eager,
                         RuleOutput output) {
      const bool judgeable = !capture_.problem.rope || got.dtype == capture_.problem.dtype;
      if (got && judgeable)
        outputs.push_back({name, got, eager, Tallies(rules_, got.dtype, output)});
    };
    add("dv", capture_.dv, &Gradients::dv, RuleOutput::kDkDv);
    add("dq", capture_.dq, &Gradients::dq, RuleOutput::kDq);
    add("dk", capture_.dk, &Gradients::dk, RuleOutput::kDkDv);
    std::array<Gradients, kPaths.size()> eager;
    for (const EagerPath path : kPaths) {
      if (std::ranges::any_of(outputs, [&](const Output& o) { return o.tallies.Needs(path); }))
        eager[static_cast<size_t>(path)] = EagerGradients(path);
    }
    std::mutex one_at_a_time;
    const auto add_row = [&](std::string_view name, int64_t b, int64_t s, int64_t h,
                             const float* got, const Interval* want, int64_t D) {
      std::array<std::vector<float>, kPaths.size()> yardsticks;
      EagerRows rows = {};
      for (Output& output : outputs) {
        if (output.name != name) continue;
        for (size_t path = 0; path < kPaths.size(); ++path) {
          const MutableTensorView& tensor = (eager[path].*output.eager).view;
          if (!tensor) continue;
          for (int64_t d = 0; d < D; ++d) yardsticks[path].push_back(tensor.At(b, s, h, d));
          rows[path] = yardsticks[path].data();
        }
        const std::lock_guard<std::mutex> lock(one_at_a_time);
        output.tallies.AddRow(got, want, rows, D, problem_.problem.shape.Skv);
      }
    };
    Verdict by_contract;  // which says what cannot be judged at all
    JudgeGradients(capture_, contract_, problem_, sample_, options_, by_contract, add_row);
    verdict.not_judged = by_contract.not_judged;
    for (const Output& output : outputs) output.tallies.Report(output.name, verdict);
  }

  const Capture& capture_;
  const std::vector<const Rule*>& rules_;
  const SampleOptions& sample_;
  const simd::EngineOptions& options_;
  const Contract& contract_;
  Rotated rotated_;
  IntervalProblem problem_;
};

}  // namespace

std::vector<const Rule*> RulesOption(const std::string& names) {
  std::vector<const Rule*> rules;
  std::istringstream list(names);
  std::string name;
  while (std::getline(list, name, ',')) {
    const Rule* rule = FindRule(name);
    if (rule == nullptr) {
      std::vector<std::string_view> all;
      for (const Rule& r : Rules()) all.push_back(r.name);
      throw InputError("--rule", name.substr(0, 60),
                       fmt::format("one or more of {}", fmt::join(all, ", ")));
    }
    if (std::ranges::find(rules, rule) != rules.end())
      throw InputError("--rule", name + " twice", "each rule once");
    rules.push_back(rule);
  }
  if (rules.empty()) throw InputError("--rule", "no name", "at least one");
  return rules;
}

Verdict JudgeByRules(const Capture& capture, const std::vector<const Rule*>& rules,
                     const SampleOptions& sample, const simd::EngineOptions& options) {
  Verdict verdict = RuleJudge(capture, rules, sample, options).Judge();
  Conclude(capture, verdict);
  return verdict;
}

}  // namespace bitanchor::tools
