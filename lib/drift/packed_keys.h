// The rotated keys of one head, laid out for dot products of one query with many of them.
#ifndef BITANCHOR_LIB_DRIFT_PACKED_KEYS_H_
#define BITANCHOR_LIB_DRIFT_PACKED_KEYS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitanchor::drift {

class PackedKeys {
 public:
  static constexpr int64_t kGroup = 8;  // keys that are summed side by side

  PackedKeys() = default;
  PackedKeys(int64_t keys, int64_t D) : D_(D), data_(static_cast<size_t>(Padded(keys) * D)) {}

  // The size that scores of `keys` keys need.
  static int64_t Padded(int64_t keys) { return (keys + kGroup - 1) / kGroup * kGroup; }

  // k: [D]. Different keys may be set at the same time.
  void Set(int64_t j, const double* k) {
    double* to = Group(j) + j % kGroup;
    for (int64_t d = 0; d < D_; ++d) to[d * kGroup] = k[d];
  }

  // s_j = sum_d q_d k_jd in f64, d ascending, for all j in [begin, end) and for others of their
  // groups. s: [Padded(keys)].
  void Scores(const double* q, int64_t begin, int64_t end, double* s) const {
    for (int64_t j = begin / kGroup * kGroup; j < end; j += kGroup) {
      double sum[kGroup] = {};
      const double* k = Group(j);
      for (int64_t d = 0; d < D_; ++d, k += kGroup) {
        for (int64_t lane = 0; lane < kGroup; ++lane) sum[lane] += q[d] * k[lane];
      }
      for (int64_t lane = 0; lane < kGroup; ++lane) s[j + lane] = sum[lane];
    }
  }

 private:
  double* Group(int64_t j) { return data_.data() + j / kGroup * kGroup * D_; }
  const double* Group(int64_t j) const { return data_.data() + j / kGroup * kGroup * D_; }

  int64_t D_ = 0;
  std::vector<double> data_;  // [groups][D][kGroup]
};

}  // namespace bitanchor::drift

#endif  // BITANCHOR_LIB_DRIFT_PACKED_KEYS_H_
