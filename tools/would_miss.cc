#include "tools/would_miss.h"

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <map>

#include "lib/exact/attention_mistakes.h"
#include "lib/exact/eager_attention.h"
#include "lib/exact/rope_interval.h"
#include "lib/recipe/mistake.h"
#include "simd/parallel.h"
#include "tools/attention_start.h"
#include "tools/judge.h"
#include "tools/mistaken_rope.h"
#include "tools/telling_rows.h"

namespace bitanchor::tools {
namespace {

using exact::MistakenAttention;
using exact::RowPlace;
using exact::StoredRow;

constexpr size_t kMostRows = 128;
constexpr double kLog2E = 1.4426950408889634;

bool SameBits(float one, float other) {
  return std::bit_cast<uint32_t>(one) == std::bit_cast<uint32_t>(other);
}

// Whether these answers at some rows would be judged wrong, by each of several judges.
using Caught = std::vector<bool>;
using Judges = std::function<Caught(const std::vector<StoredRow>&)>;

// Mutants of one problem, judged on some of its rows.
class Mutants {
 public:
  // The others must outlive this.
  Mutants(const Capture& capture, exact::RightAttention right, const std::vector<RowPlace>& rows,
          const simd::EngineOptions& options, Judges judges)
      : capture_(capture),
        right_(std::move(right)),
        options_(options),
        rows_(rows),
        judges_(std::move(judges)) {
    MistakenAttention none;
    none.attention = right_;
    right_rows_ = Answers(none);
  }

  // lse: judged as well. weights_stay_exact: no right kernel rounds them.
  void JudgeAttention(bool lse, bool weights_stay_exact) {
    for (const MistakenAttention& mutant : exact::AttentionMistakes(right_, weights_stay_exact)) {
      Judge(mutant.id, Answers(mutant));
    }
    const auto edited = [&](const char* id, const auto& edit) {
      std::vector<StoredRow> answers = right_rows_;
      edit(answers);
      Judge(id, answers);
    };
    edited("zeros", [](std::vector<StoredRow>& answers) {
      for (StoredRow& row : answers) row = {std::vector<float>(row.o.size()), 0};
    });
    edited("not-finite", [](std::vector<StoredRow>& answers) {
      for (StoredRow* row : {&answers.front(), &answers.back()})
        row->o[0] = std::numeric_limits<float>::quiet_NaN();
    });
    if (!lse) return;
    const LseSpec& spec = capture_.lse_spec;
    const auto times = [&](const char* id, double factor) {
      edited(id, [&](std::vector<StoredRow>& answers) {
        for (StoredRow& row : answers) row.lse = static_cast<float>(row.lse * factor);
      });
    };
    times("lse-base", spec.base == LseBase::kE ? kLog2E : 1 / kLog2E);
    const double scale = right_->problem.softmax_scale;
    times("lse-unscaled", spec.scaled ? 1 / scale : scale);
  }

  // By what attention makes of the rotation.
  void JudgeAttentionAfterRope() {
    for (const RopeMistake& mutant : RopeMistakes(capture_.problem)) {
      const MistakenRotation wrong = Rotate(mutant, options_);
      auto understood = std::make_shared<IntervalProblem>(*right_);
      understood->problem.q = wrong.q.view;
      understood->problem.k = wrong.k.view;
      understood->problem.v = mutant.v;
      MistakenAttention kernel;
      kernel.attention = std::move(understood);
      Judge(mutant.id, Answers(kernel));
    }
  }

  // By the rotation itself, of which the capture holds one or both.
  void JudgeRotations(double libm_ulp) {
    const AttentionProblem& p = capture_.problem;
    const MistakenRotation right = Rotate(RightRotation(p), options_);
    for (const RopeMistake& mutant : RopeMistakes(p)) {
      const MistakenRotation wrong = Rotate(mutant, options_);
      bool differs = false, seen = false;
      JudgeRotation(capture_.q_rope, p.q, p.q_positions, right.q.view, wrong.q.view, libm_ulp,
                    differs, seen);
      JudgeRotation(capture_.k_rope, p.k, p.k_positions, right.k.view, wrong.k.view, libm_ulp,
                    differs, seen);
      if (differs) Note(mutant.id, {seen});
    }
  }

  // By judge, in the table's order.
  std::vector<WouldMiss> Found(size_t judge) const {
    std::vector<WouldMiss> all;
    for (const auto& [id, caught] : found_) all.push_back({id, caught[judge]});
    std::sort(all.begin(), all.end(), [](const WouldMiss& one, const WouldMiss& other) {
      return MistakeRank(one.mutant) < MistakeRank(other.mutant);
    });
    return all;
  }

 private:
  std::vector<StoredRow> Answers(const MistakenAttention& mutant) const {
    std::vector<StoredRow> answers(rows_.size());
    std::vector<exact::GatheredRow> scratch(simd::Workers(options_));
    simd::ParallelFor(options_, static_cast<int64_t>(rows_.size()), [&](int64_t n, int worker) {
      answers[n] = exact::Stored(mutant, rows_[n], scratch[worker]);
    });
    return answers;
  }

  // A mutant that answers as the right kernel does is none.
  void Judge(const std::string& id, const std::vector<StoredRow>& answers) {
    bool differs = false;
    for (size_t n = 0; n < answers.size(); ++n) {
      const StoredRow& got = answers[n];
      differs |=
          capture_.o && !std::equal(got.o.begin(), got.o.end(), right_rows_[n].o.begin(), SameBits);
      differs |= capture_.lse && !SameBits(got.lse, right_rows_[n].lse);
    }
    if (differs) Note(id, judges_(answers));
  }

  // One of q and k, at the tokens of rows().
  void JudgeRotation(const TensorView& captured, const TensorView& in,
                     const std::vector<int64_t>& positions, const TensorView& right,
                     const TensorView& wrong, double libm_ulp, bool& differs, bool& seen) const {
    if (!captured) return;
    const RopeConfig& config = *capture_.problem.rope;
    const exact::RopeIntervals intervals(config, *FindRopeRecipe(config.recipe), in.dtype,
                                         libm_ulp);
    const int64_t S = in.shape[1], H = in.shape[2], D = in.shape[3];
    std::vector<Interval> token;
    for (const auto& [b, h, i] : rows_) {
      const int64_t s = std::min(i, S - 1);
      intervals.Token(in, b, s, positions[b * S + s], token);
      for (int64_t n = 0; n < H * D; ++n) {
        const float got = wrong.At(b, s, n / D, n % D);
        differs |= !SameBits(got, right.At(b, s, n / D, n % D));
        seen |= !Admits(token[n], got);
      }
    }
  }

  void Note(const std::string& id, const Caught& caught) {
    const auto [entry, is_new] = found_.try_emplace(id, caught);
    for (size_t n = 0; n < caught.size(); ++n) entry->second[n] = entry->second[n] && caught[n];
  }

  const Capture& capture_;
  exact::RightAttention right_;
  const simd::EngineOptions& options_;
  const std::vector<RowPlace>& rows_;
  Judges judges_;
  std::vector<StoredRow> right_rows_;
  std::map<std::string, Caught> found_;
};

// Whether what a rule measures is an average over elements.
bool Averages(const Rule& rule, DType dtype) {
  return rule.measure == RuleMeasure::kMeanError || rule.measure == RuleMeasure::kSquares ||
         rule.measure == RuleMeasure::kLargestAndMean ||
         rule.Limits(RuleOutput::kO, dtype).mismatches > 0;
}

}  // namespace

std::vector<WouldMiss> WouldMissByContract(const Capture& capture, const Contract& contract,
                                           const simd::EngineOptions& options) {
  const AttentionStart right(capture, contract, options);
  const std::vector<RowPlace> rows = TellingRows(right.problem().problem, kMostRows);
  const std::vector<IntervalBlock> want = right.Intervals(rows);
  const DType o_dtype = right.problem().o_dtype;
  const int64_t Skv = capture.problem.shape.Skv;
  const auto judge = [&](const std::vector<StoredRow>& answers) -> Caught {
    Census o(o_dtype), lse(DType::kF32);
    for (size_t n = 0; n < rows.size(); ++n) {
      const auto [b, h, i] = rows[n];
      const StoredRow& got = answers[n];
      o.AddRow({b, i, h, 0}, got.o.data(), want[n].o.data(), static_cast<int64_t>(got.o.size()));
      lse.AddRow({b, i, h, -1}, &got.lse, want[n].lse.data(), 1);
    }
    return {(capture.o && VerdictOfO(contract, Skv, o).Failed()) ||
            (capture.lse && VerdictOfLse(contract, Skv, lse).Failed())};
  };
  Mutants mutants(capture, right.attention(), rows, right.options(), judge);
  const bool attention = capture.o || capture.lse;
  if (attention) mutants.JudgeAttention(bool{capture.lse}, contract.weight_rounding == 0);
  if (capture.q_rope || capture.k_rope) {
    mutants.JudgeRotations(contract.libm_ulp);
  } else if (capture.problem.rope && attention) {
    mutants.JudgeAttentionAfterRope();
  }
  return mutants.Found(0);
}

void AddWouldMissByRules(const Capture& capture, const std::vector<const Rule*>& rules,
                         const simd::EngineOptions& options, Verdict& verdict) {
  if (!capture.o) return;
  const AttentionStart right(capture, DefaultContract(capture.problem.dtype), options);
  const IntervalProblem& start = right.problem();
  const int64_t D = start.problem.shape.D;
  std::vector<RowPlace> rows = TellingRows(start.problem, kMostRows);
  const size_t telling = rows.size();
  for (const RowPlace& place : SpreadRows(start.problem, kMostRows)) rows.push_back(place);
  const std::vector<IntervalBlock> want = right.Intervals(rows);
  std::map<EagerPath, std::vector<float>> eager;  // [rows, D]
  for (const Rule* rule : rules) {
    if (!rule->eager || eager.count(*rule->eager) > 0) continue;
    std::vector<float>& mine = eager[*rule->eager];
    mine.resize(rows.size() * D);
    const exact::EagerAttention attention(start.problem, *rule->eager);
    simd::ParallelFor(right.options(), static_cast<int64_t>(rows.size()), [&](int64_t n, int) {
      attention.Row(rows[n].b, rows[n].h, rows[n].i, &mine[n * D]);
    });
  }
  const auto judge = [&](const std::vector<StoredRow>& answers) {
    Caught caught;
    for (const Rule* rule : rules) {
      const bool averages = Averages(*rule, start.o_dtype);
      RuleTally tally(*rule, start.o_dtype);
      for (size_t n = averages ? telling : 0; n < (averages ? rows.size() : telling); ++n) {
        if (!tally.Judges()) break;
        tally.AddRow(answers[n].o.data(), want[n].o.data(),
                     rule->eager ? &eager[*rule->eager][n * D] : nullptr, D,
                     start.problem.shape.Skv);
      }
      caught.push_back(tally.Judges() && !tally.Decide("o").passes);
    }
    return caught;
  };
  Mutants mutants(capture, right.attention(), rows, right.options(), judge);
  mutants.JudgeAttention(false, capture.problem.dtype == DType::kF32);
  if (capture.problem.rope) mutants.JudgeAttentionAfterRope();
  for (size_t n = 0; n < rules.size(); ++n) {
    for (RuleVerdict& of : verdict.rules) {
      if (of.output == "o" && of.name == rules[n]->name) of.would_miss = mutants.Found(n);
    }
  }
}

}  // namespace bitanchor::tools
