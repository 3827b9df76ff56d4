#include "tools/drift_run.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "lib/recipe/rope_recipe.h"
#include "simd/f64_rows.h"
#include "simd/in_turn.h"
#include "simd/parallel.h"

namespace bitanchor::tools {
namespace {

using drift::HeadProblem;
using drift::Panels;
using drift::QuerySums;
using drift::StagedRope;
using number::CosSin;

constexpr int64_t kBlock = 64;  // queries of a task, and tokens rotated at a time

int64_t Blocks(int64_t begin, int64_t end) { return (end - begin + kBlock - 1) / kBlock; }

// [T, Pairs()] of one sequence at one shift.
using RotationTable = std::vector<CosSin>;

RotationTable MakeTable(const StagedRope& rope, const int64_t* positions, int64_t T, int64_t shift,
                        const simd::EngineOptions& options) {
  const int64_t pairs = rope.Pairs();
  RotationTable table(static_cast<size_t>(T * pairs));
  simd::ParallelFor(options, Blocks(0, T), [&](int64_t block, int) {
    for (int64_t t = block * kBlock; t < std::min(T, (block + 1) * kBlock); ++t) {
      for (int64_t i = 0; i < pairs; ++i) {
        table[static_cast<size_t>(t * pairs + i)] = rope.Table(positions[t] + shift, i);
      }
    }
  });
  return table;
}

// A head's token in the model's format.
void LoadRow(const TensorView& tensor, DType F, int64_t b, int64_t s, int64_t h, double* x) {
  const StageFormat format = FormatOf(StageFormat::kModel, F);
  for (int64_t d = 0; d < tensor.shape[3]; ++d) x[d] = RoundTo(format, tensor.At(b, s, h, d));
}

class Measurement {
 public:
  Measurement(const DriftInput& input, const StagedRope& rope, const std::vector<Shift>& shifts,
              const std::vector<int64_t>& lengths, const simd::EngineOptions& options,
              DriftProgress& progress)
      : input_(input),
        rope_(rope),
        shifts_(shifts),
        lengths_(lengths),
        options_(options),
        show_(progress),
        T_(lengths.back()),
        D_(input.problem.shape.D),
        drifts_(shifts.size(), std::vector<drift::Drift>(lengths.size())) {
    options_.progress = nullptr;
    std::vector<int64_t> values;
    for (const Shift& shift : shifts) values.insert(values.end(), {shift.one, shift.other});
    std::sort(values.begin(), values.end());
    values.erase(std::unique(values.begin(), values.end()), values.end());
    values_ = values;
    head_.T = T_;
    head_.D = D_;
    head_.mask = &input.problem.mask;
    head_.rotated.resize(values_.size());
    keys_.assign(values_.size(), Panels(D_, T_));
    const simd::F64RowKernels fast = simd::RowKernelsOf(options.target);
    head_.kernels = {fast.product, fast.softmax, fast.compare};
    for (const Shift& shift : shifts) head_.pairs.push_back({At(shift.one), At(shift.other)});
    for (size_t side = 0; side < values_.size(); ++side) head_.rotated[side].keys = &keys_[side];
  }

  std::vector<std::vector<drift::Drift>> Run() {
    const AttentionShape& shape = input_.problem.shape;
    workers_.resize(static_cast<size_t>(simd::Workers(options_)));
    for (int64_t b = 0; b < shape.B; ++b) {
      head_.b = b;
      MakeTables(b);
      for (int64_t layer = 0; layer < input_.layers; ++layer) {
        for (int64_t h = 0; h < shape.Hq; ++h) Head(layer * shape.B + b, h);
      }
    }
    return std::move(drifts_);
  }

 private:
  struct Worker {
    drift::RowScratch scratch;
    std::vector<QuerySums> sums;
    explicit Worker(const HeadProblem& head)
        : scratch(head), sums(head.pairs.size(), QuerySums(head.T)) {}
  };

  size_t At(int64_t value) const {
    return static_cast<size_t>(std::lower_bound(values_.begin(), values_.end(), value) -
                               values_.begin());
  }

  // Queries have tables of their own where their positions are not the keys'.
  void MakeTables(int64_t b) {
    const AttentionProblem& problem = input_.problem;
    const int64_t* const of_q = problem.q_positions.data() + b * problem.shape.Sq;
    const int64_t* const of_k = problem.k_positions.data() + b * problem.shape.Skv;
    key_tables_.clear();
    query_tables_.clear();
    for (const int64_t value : values_) {
      key_tables_.push_back(MakeTable(rope_, of_k, T_, value, options_));
      if (std::equal(of_q, of_q + T_, of_k)) continue;
      query_tables_.push_back(MakeTable(rope_, of_q, T_, value, options_));
    }
  }

  // b: of [L B].
  void Head(int64_t b, int64_t h) {
    const AttentionShape& shape = input_.problem.shape;
    RotateQueries(b, h);
    if (h % (shape.Hq / shape.Hkv) == 0) RotateKeys(b, shape.KeyHead(h));
    std::vector<QuerySums> sums(shifts_.size(), QuerySums(T_));
    int64_t done = 0;  // queries in sums, whole blocks
    for (size_t length = 0; length < lengths_.size(); ++length) {
      const int64_t T = lengths_[length], whole = T / kBlock * kBlock;
      Queries(done, whole, sums);
      done = whole;
      // The rest apart, so that a length's bits do not depend on which others there are.
      std::vector<QuerySums> with_rest = sums;
      Queries(done, T, with_rest);
      for (size_t n = 0; n < shifts_.size(); ++n) {
        drifts_[n][length].AddHead(with_rest[n], T, shape.B);
      }
    }
    show_.Finish(static_cast<double>(T_) * static_cast<double>(T_));
  }

  void RotateQueries(int64_t b, int64_t h) {
    for (drift::RotatedHead& rotated : head_.rotated) {
      rotated.q.resize(static_cast<size_t>(T_ * D_));
    }
    const std::vector<RotationTable>& tables = query_tables_.empty() ? key_tables_ : query_tables_;
    ForTokens([&](int64_t t, double* x, double*) {
      LoadRow(input_.q, rope_.ModelFormat(), b, t, h, x);
      for (size_t side = 0; side < values_.size(); ++side) {
        rope_.RotateHead(x, D_, TableAt(tables, side, t), head_.rotated[side].q.data() + t * D_);
      }
    });
  }

  void RotateKeys(int64_t b, int64_t h) {
    if (input_.v && head_.v.empty()) head_.v = Panels(T_, D_);
    ForTokens([&](int64_t t, double* x, double* y) {
      LoadRow(input_.k, rope_.ModelFormat(), b, t, h, x);
      for (size_t side = 0; side < values_.size(); ++side) {
        rope_.RotateHead(x, D_, TableAt(key_tables_, side, t), y);
        for (int64_t d = 0; d < D_; ++d) keys_[side].At(d, t) = y[d];
      }
      if (!input_.v) return;
      LoadRow(input_.v, rope_.ModelFormat(), b, t, h, y);
      for (int64_t d = 0; d < D_; ++d) head_.v.At(t, d) = y[d];
    });
  }

  const CosSin* TableAt(const std::vector<RotationTable>& tables, size_t side, int64_t t) const {
    return tables[side].data() + t * rope_.Pairs();
  }

  template <typename Body>
  void ForTokens(const Body& body) const {
    simd::ParallelFor(options_, Blocks(0, T_), [&](int64_t block, int) {
      std::vector<double> x(static_cast<size_t>(D_)), y(x);
      for (int64_t t = block * kBlock; t < std::min(T_, (block + 1) * kBlock); ++t) {
        body(t, x.data(), y.data());
      }
    });
  }

  // Blocks are summed apart and added in their order, so that threads cannot move a bit.
  void Queries(int64_t begin, int64_t end, std::vector<QuerySums>& sums) {
    simd::InTurn in_turn;
    simd::ParallelFor(options_, Blocks(begin, end), [&](int64_t block, int worker) {
      std::unique_ptr<Worker>& own = workers_[static_cast<size_t>(worker)];
      if (!own) own = std::make_unique<Worker>(head_);  // many threads may never get a block
      Worker& mine = *own;
      const int64_t from = begin + block * kBlock, to = std::min(end, from + kBlock);
      const auto add = [&] { drift::AddQueries(head_, from, to, mine.scratch, mine.sums); };
      in_turn.Do(block, add, [&] {
        for (size_t n = 0; n < sums.size(); ++n) sums[n].Take(mine.sums[n], to);
        show_.Show(static_cast<double>(to) * static_cast<double>(to));
      });
    });
  }

  const DriftInput& input_;
  const StagedRope& rope_;
  const std::vector<Shift>& shifts_;
  const std::vector<int64_t>& lengths_;
  simd::EngineOptions options_;
  DriftProgress& show_;
  int64_t T_, D_;
  std::vector<int64_t> values_;                           // of all shifts, each once
  std::vector<RotationTable> key_tables_, query_tables_;  // of each value
  std::vector<Panels> keys_;
  HeadProblem head_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::vector<drift::Drift>> drifts_;
};

}  // namespace

void DriftProgress::Show(double of_current) const {
  constexpr int64_t kUnits = 1 << 20;
  if (!show_) return;
  const double share = (done_ + of_current) / total_;
  show_(std::clamp<int64_t>(static_cast<int64_t>(share * kUnits), 1, kUnits), kUnits);
}

double DriftWork(const DriftInput& input, int64_t most_tokens) {
  const AttentionShape& shape = input.problem.shape;
  const double T = static_cast<double>(most_tokens);
  return static_cast<double>(input.layers * shape.B * shape.Hq) * T * T;
}

std::vector<std::vector<drift::Drift>> MeasureDrift(const DriftInput& input, const StagedRope& rope,
                                                    const std::vector<Shift>& shifts,
                                                    const std::vector<int64_t>& lengths,
                                                    const simd::EngineOptions& options,
                                                    DriftProgress& progress) {
  return Measurement(input, rope, shifts, lengths, options, progress).Run();
}

}  // namespace bitanchor::tools
