#include "tools/find_block.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "lib/number/elementary.h"

namespace bitanchor::tools {
namespace {

using exact::BlockMistake;
using exact::RightAttention;
using exact::RowPlace;

// A sum of weights and one of weighted values.
struct Sums {
  double weight = 0;
  std::vector<double> value;  // [D]

  explicit Sums(int64_t D) : value(D) {}
  void Add(double w, const std::vector<float>& v) {
    weight += w;
    for (size_t d = 0; d < v.size(); ++d) value[d] += w * v[d];
  }
  void Add(double times, const Sums& other) {
    weight += times * other.weight;
    for (size_t d = 0; d < value.size(); ++d) value[d] += times * other.value[d];
  }
};

// One query with the keys that it sees.
class Row {
 public:
  Row(const RightAttention& right, const RowPlace& at) : p_(right->problem), at_(at) {
    scores_.assign(p_.shape.Skv, std::numeric_limits<double>::quiet_NaN());
    for (int64_t j = 0; j < p_.shape.Skv; ++j) {
      if (!p_.mask.Visible(at.b, at.i, j)) continue;
      keys_.push_back(j);
      m_ = std::max(m_, Score(j));
    }
  }

  const std::vector<int64_t>& keys() const { return keys_; }
  double Weight(int64_t j) { return number::ExpF64(std::min(Score(j) - m_, 700.0)); }
  std::vector<float> Value(int64_t j) const {
    std::vector<float> v(p_.shape.D);
    for (int64_t d = 0; d < p_.shape.D; ++d) v[d] = p_.v.At(at_.b, j, KeyHead(), d);
    return v;
  }

 private:
  int64_t KeyHead() const { return p_.shape.KeyHead(at_.h); }
  double Score(int64_t j) {
    double& s = scores_[j];
    if (!std::isnan(s)) return s;
    s = 0;
    for (int64_t d = 0; d < p_.shape.D; ++d) {
      s += static_cast<double>(p_.q.At(at_.b, at_.i, at_.h, d)) * p_.k.At(at_.b, j, KeyHead(), d);
    }
    return s *= p_.softmax_scale;
  }

  const AttentionProblem& p_;
  RowPlace at_;
  std::vector<int64_t> keys_;
  std::vector<double> scores_;
  double m_ = -std::numeric_limits<double>::infinity();
};

double Distance(const Sums& sums, const std::vector<float>& got) {
  double sum = 0;
  for (size_t d = 0; d < got.size(); ++d) {
    const double o = sums.weight > 0 ? sums.value[d] / sums.weight : 0;
    sum += std::fabs(o - got[d]);
  }
  return std::isfinite(sum) ? sum : std::numeric_limits<double>::max();
}

// What a block adds to the sums of a row, as it is and with what a mistake makes of it instead.
struct BlockSums {
  Sums own, stale, wrong;
};

constexpr size_t kWays = std::size(exact::kBlockMistakes);

// distance[way][block] grows by how far each is from the answer, in units of how far the right
// kernel is.
void AddDistances(Row& row, const std::vector<float>& got, int64_t Skv, int64_t block_keys,
                  std::array<std::vector<double>, kWays>& distance) {
  const int64_t D = static_cast<int64_t>(got.size());
  const int64_t blocks = static_cast<int64_t>(distance[0].size());
  std::vector<BlockSums> sums(blocks, {Sums(D), Sums(D), Sums(D)});
  Sums all(D);
  for (const int64_t j : row.keys()) {
    const int64_t before = ((j - block_keys) % Skv + Skv) % Skv;
    const std::vector<float> v = row.Value(j), v_before = row.Value(before);
    const double w = row.Weight(j);
    BlockSums& block = sums[j / block_keys];
    block.own.Add(w, v);
    block.stale.Add(w, v_before);
    block.wrong.Add(row.Weight(before), v_before);
    all.Add(w, v);
  }
  const double right = Distance(all, got);
  for (int64_t n = 0; n < blocks; ++n) {
    const auto note = [&](BlockMistake way, const Sums& answer) {
      distance[static_cast<size_t>(way)][n] += Distance(answer, got) / right;
    };
    Sums rest = all, repeated = all;
    rest.Add(-1, sums[n].own);
    repeated.Add(1, sums[n].own);
    Sums stale = rest, wrong = rest;
    stale.Add(1, sums[n].stale);
    wrong.Add(1, sums[n].wrong);
    note(BlockMistake::kSkipped, rest);
    note(BlockMistake::kRepeated, repeated);
    note(BlockMistake::kStaleValues, stale);
    note(BlockMistake::kWrongBlock, wrong);
  }
}

}  // namespace

std::vector<exact::MistakenAttention> LikeliestBlocks(const RightAttention& right,
                                                      const TensorView& o,
                                                      const std::vector<RowPlace>& rows,
                                                      int64_t block_keys) {
  const int64_t Skv = right->problem.shape.Skv, blocks = (Skv + block_keys - 1) / block_keys;
  std::array<std::vector<double>, kWays> distance;
  for (std::vector<double>& of : distance) of.resize(blocks);
  for (const RowPlace& at : rows) {
    std::vector<float> got(right->problem.shape.D);
    for (size_t d = 0; d < got.size(); ++d) {
      got[d] = o.At(at.b, at.i, at.h, static_cast<int64_t>(d));
    }
    Row row(right, at);
    AddDistances(row, got, Skv, block_keys, distance);
  }
  std::vector<exact::MistakenAttention> likeliest;
  for (const BlockMistake way : exact::kBlockMistakes) {
    const std::vector<double>& of = distance[static_cast<size_t>(way)];
    const int64_t best = std::min_element(of.begin(), of.end()) - of.begin();
    likeliest.push_back(WithBlock(right, way, block_keys,
                                  {best * block_keys, std::min(Skv, (best + 1) * block_keys)}));
  }
  return likeliest;
}

}  // namespace bitanchor::tools
