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

// Blocks of keys, and those that a kernel may take in the place of each.
struct Blocks {
  int64_t keys, Skv;
  TensorView moved_k;  // as WithBlock's

  int64_t Count() const { return (Skv + keys - 1) / keys; }
  int64_t Before(int64_t j) const { return ((j - keys) % Skv + Skv) % Skv; }
};

// One query with the keys that it sees.
class Row {
 public:
  Row(const RightAttention& right, const RowPlace& at, const Blocks& blocks)
      : p_(right->problem), at_(at), blocks_(blocks) {
    scores_.assign(p_.shape.Skv, std::numeric_limits<double>::quiet_NaN());
    for (int64_t j = 0; j < p_.shape.Skv; ++j) {
      if (!p_.mask.Visible(at.b, at.i, j)) continue;
      keys_.push_back(j);
      m_ = std::max(m_, Score(j));
    }
  }

  const std::vector<int64_t>& keys() const { return keys_; }
  double Weight(int64_t j) { return WeightOf(Score(j)); }
  // That of the key of the block before in the place of key j.
  double MovedWeight(int64_t j) {
    if (!blocks_.moved_k) return Weight(blocks_.Before(j));
    return WeightOf(Scored(blocks_.moved_k, j));
  }
  std::vector<float> Value(int64_t j) const {
    std::vector<float> v(p_.shape.D);
    for (int64_t d = 0; d < p_.shape.D; ++d) v[d] = p_.v.At(at_.b, j, KeyHead(), d);
    return v;
  }

 private:
  int64_t KeyHead() const { return p_.shape.KeyHead(at_.h); }
  double WeightOf(double score) const { return number::ExpF64(std::min(score - m_, 700.0)); }
  double Score(int64_t j) {
    if (std::isnan(scores_[j])) scores_[j] = Scored(p_.k, j);
    return scores_[j];
  }
  double Scored(const TensorView& k, int64_t j) const {
    double s = 0;
    for (int64_t d = 0; d < p_.shape.D; ++d) {
      s += static_cast<double>(p_.q.At(at_.b, at_.i, at_.h, d)) * k.At(at_.b, j, KeyHead(), d);
    }
    return s * p_.softmax_scale;
  }

  const AttentionProblem& p_;
  RowPlace at_;
  const Blocks& blocks_;
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
  Sums own, stale_values, stale_keys, wrong;
};

constexpr size_t kWays = std::size(exact::kBlockMistakes);

// distance[way][block] grows by how far each is from the answer, in units of how far the right
// kernel is.
void AddDistances(Row& row, const std::vector<float>& got, const Blocks& blocks,
                  std::array<std::vector<double>, kWays>& distance) {
  const int64_t D = static_cast<int64_t>(got.size());
  std::vector<BlockSums> sums(blocks.Count(), {Sums(D), Sums(D), Sums(D), Sums(D)});
  Sums all(D);
  for (const int64_t j : row.keys()) {
    const std::vector<float> v = row.Value(j), v_before = row.Value(blocks.Before(j));
    const double w = row.Weight(j), w_before = row.MovedWeight(j);
    BlockSums& block = sums[j / blocks.keys];
    block.own.Add(w, v);
    block.stale_values.Add(w, v_before);
    block.stale_keys.Add(w_before, v);
    block.wrong.Add(w_before, v_before);
    all.Add(w, v);
  }
  const double right = Distance(all, got);
  if (!(right > 0)) return;  // nothing in o to look for: LSE alone is wrong
  for (size_t n = 0; n < sums.size(); ++n) {
    Sums rest = all;
    rest.Add(-1, sums[n].own);
    const auto note = [&](BlockMistake way, double times, const Sums& instead) {
      Sums answer = rest;
      answer.Add(times, instead);
      distance[static_cast<size_t>(way)][n] += Distance(answer, got) / right;
    };
    note(BlockMistake::kSkipped, 0, sums[n].own);
    note(BlockMistake::kRepeated, 2, sums[n].own);
    note(BlockMistake::kStaleValues, 1, sums[n].stale_values);
    note(BlockMistake::kStaleKeys, 1, sums[n].stale_keys);
    note(BlockMistake::kWrongBlock, 1, sums[n].wrong);
  }
}

}  // namespace

std::vector<exact::MistakenAttention> LikeliestBlocks(const RightAttention& right,
                                                      const TensorView& o,
                                                      const std::vector<RowPlace>& rows,
                                                      int64_t block_keys,
                                                      const TensorView& moved_k) {
  const Blocks blocks{block_keys, right->problem.shape.Skv, moved_k};
  std::array<std::vector<double>, kWays> distance;
  for (std::vector<double>& of : distance) of.resize(blocks.Count());
  for (const RowPlace& at : rows) {
    std::vector<float> got(right->problem.shape.D);
    for (size_t d = 0; d < got.size(); ++d) {
      got[d] = o.At(at.b, at.i, at.h, static_cast<int64_t>(d));
    }
    Row row(right, at, blocks);
    AddDistances(row, got, blocks, distance);
  }
  std::vector<exact::MistakenAttention> likeliest;
  for (const BlockMistake way : exact::kBlockMistakes) {
    if (moved_k && way != BlockMistake::kStaleKeys && way != BlockMistake::kWrongBlock) continue;
    const std::vector<double>& of = distance[static_cast<size_t>(way)];
    const int64_t first = (std::min_element(of.begin(), of.end()) - of.begin()) * block_keys;
    const exact::KeyRange keys = {first, std::min(blocks.Skv, first + block_keys)};
    likeliest.push_back(WithBlock(right, way, block_keys, keys, moved_k));
  }
  return likeliest;
}

}  // namespace bitanchor::tools
