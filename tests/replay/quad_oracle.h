// FlashAttention-2's forward kernel as its source has it, for one row of scores: four threads that
// keep their own registers and exchange them by shuffles. Written from
// csrc/flash_attn/src/softmax.h, flash_fwd_kernel.h and mask.h of Dao-AILab/flash-attention and
// from the published models of the matrix units, with the host's own f32 and f64 arithmetic; none
// of lib/replay, lib/matrix_unit and lib/number.
#ifndef BITANCHOR_TESTS_REPLAY_QUAD_ORACLE_H_
#define BITANCHOR_TESTS_REPLAY_QUAD_ORACLE_H_

#include <mpfr.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <functional>
#include <limits>
#include <vector>

namespace bitanchor::testing {

// A GPU's special functions and its unit.
struct Gpu {
  std::function<float(float)> ex2, rcp, lg2;  // of operands that are not subnormal
  int L = 8, F = 24;                          // products of a group, fraction bits
  int least_exponent = -126;                  // under E, where c is zero
  bool bf16 = true;
  // Which product the compiler fuses in row_max * softmax_scale + __logf(sum): 0 neither, 1, 2.
  int lse_fusion = 1;
};

struct Kernel {
  int64_t kBlockM = 128, kBlockN = 64;
  bool Is_causal = true, Is_even_MN = false;
  // What other kernels do otherwise; FlashAttention-2 none of it.
  enum { kFused, kScaled, kShifted } exponent = kFused;
  bool first_tile_first = false, rescale_sum_apart = false, one_sum = false, divide = false;
};

inline float Ftz(float x) { return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : x; }
inline float MulFtz(float x, float y) { return Ftz(Ftz(x) * Ftz(y)); }
inline float AddFtz(float x, float y) { return Ftz(Ftz(x) + Ftz(y)); }
inline float FmaFtz(float x, float y, float z) { return Ftz(std::fma(Ftz(x), Ftz(y), Ftz(z))); }
inline float MaxFtz(float x, float y) { return Ftz(std::fmax(x, y)); }

// To nearest-even, to so many significant bits, least exponent, first power of 2 that is too large.
inline float NearestTo(float x, int bits, int least, float too_large) {
  if (!std::isfinite(x) || x == 0) return x;
  const int quantum = std::max(std::ilogb(x), least) - (bits - 1);
  const double units = std::ldexp(static_cast<double>(x), -quantum);
  const double rounded = std::ldexp(std::nearbyint(units), quantum);
  if (std::fabs(rounded) >= too_large) return std::copysign(HUGE_VALF, x);
  return static_cast<float>(std::copysign(rounded, x));
}
inline float To16(bool bf16, float x) {
  return bf16 ? NearestTo(x, 8, -126, HUGE_VALF) : NearestTo(x, 11, -14, 65536.0f);
}

// One group: every term to a multiple of 2^(E - F) toward zero, the sum to f32 toward zero.
inline float GroupOf(const Gpu& gpu, const float* a, const float* b, float c) {
  const int least = gpu.bf16 ? -126 : -14;
  const auto e_of = [](float x, int floor) { return std::max(std::ilogb(x), floor); };
  int E = std::numeric_limits<int>::min();
  float special = 0;  // what infinities and NaNs add up to
  for (int k = 0; k < gpu.L; ++k) {
    if (!std::isfinite(a[k]) || !std::isfinite(b[k])) special += a[k] * b[k];
    if (a[k] != 0 && b[k] != 0) E = std::max(E, e_of(a[k], least) + e_of(b[k], least));
  }
  if (!std::isfinite(c)) special += c;
  if (special != 0) return special;  // infinite, or NaN
  if (c != 0) E = std::max(E, e_of(c, -126));
  if (E == std::numeric_limits<int>::min()) return 0;
  E = std::max(E, gpu.least_exponent);
  const auto cut = [&](double term) { return std::trunc(std::ldexp(term, gpu.F - E)); };
  double units = cut(c);
  for (int k = 0; k < gpu.L; ++k) units += cut(static_cast<double>(a[k]) * b[k]);
  const double sum = std::ldexp(units, E - gpu.F);
  if (std::fabs(sum) >= 0x1p128) return std::copysign(HUGE_VALF, static_cast<float>(sum));
  float nearest = static_cast<float>(sum);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(sum)) {
    nearest = std::nextafter(nearest, 0.0f);
  }
  return nearest;
}

// mma.m16n8k16: 16 products.
inline float Mma16(const Gpu& gpu, const float* a, const float* b, float c) {
  for (int k = 0; k < 16; k += gpu.L) c = GroupOf(gpu, a + k, b + k, c);
  return c;
}

struct RowAnswer {
  std::vector<float> o;
  float lse = 0;
};

// One row of one head: q [D]; k and v [Skv][D]; row m_row of Sq.
class QuadOfThreads {
 public:
  QuadOfThreads(const Gpu& gpu, const Kernel& kernel, float softmax_scale)
      : gpu_(gpu), kernel_(kernel), softmax_scale_(softmax_scale) {
    scale_softmax_log2_ = static_cast<float>(softmax_scale * 1.4426950408889634074);  // M_LOG2E
  }

  RowAnswer Run(const std::vector<float>& q, const std::vector<std::vector<float>>& k,
                const std::vector<std::vector<float>>& v, int64_t row, int64_t Sq) {
    const int64_t Skv = static_cast<int64_t>(k.size()), kBlockN = kernel_.kBlockN;
    const auto ceil_div = [](int64_t a, int64_t b) { return (a + b - 1) / b; };
    const int64_t m_block = row / kernel_.kBlockM;
    int64_t n_block_max = ceil_div(Skv, kBlockN);
    if (kernel_.Is_causal) {
      n_block_max =
          std::min(n_block_max, ceil_div((m_block + 1) * kernel_.kBlockM + Skv - Sq, kBlockN));
    }
    if (n_block_max <= 0) return {std::vector<float>(q.size(), 0.0f), HUGE_VALF};
    acc_o_.assign(q.size(), 0.0f);
    const int64_t masking_steps =
        !kernel_.Is_causal ? 1 : ceil_div(kernel_.kBlockM, kBlockN) + (kernel_.Is_even_MN ? 0 : 1);
    for (int64_t step = 0; step < n_block_max; ++step) {
      const int64_t n_block = kernel_.first_tile_first ? step : n_block_max - 1 - step;
      const bool masking = step < masking_steps || kernel_.first_tile_first;
      std::vector<float> s(static_cast<size_t>(kBlockN));
      for (int64_t column = 0; column < kBlockN; ++column) {
        const int64_t key = n_block * kBlockN + column;
        float& score = s[static_cast<size_t>(column)];
        if (key < Skv) score = Dot(q, k[static_cast<size_t>(key)]);
        const int64_t limit = kernel_.Is_causal ? std::min(Skv, row + 1 + Skv - Sq) : Skv;
        if (masking && key >= limit) score = -HUGE_VALF;
      }
      SoftmaxRescale(s, step == 0, kernel_.Is_causal && masking);
      for (int64_t at = 0; at < kBlockN; at += 16) AddSlice(s, v, n_block * kBlockN, at);
    }
    return Epilogue();
  }

 private:
  float Ex2(float x) const { return Ftz(gpu_.ex2(Ftz(x))); }

  float Dot(const std::vector<float>& q, const std::vector<float>& key) const {
    float acc_s = 0;
    for (size_t d = 0; d < q.size(); d += 16) acc_s = Mma16(gpu_, &q[d], &key[d], acc_s);
    return acc_s;
  }

  // softmax_rescale_o; s becomes p.
  void SoftmaxRescale(std::vector<float>& s, bool is_first, bool check_inf) {
    std::array<float, 4> prev = row_max_;
    for (size_t t = 0; t < 4; ++t) {  // reduce_max of what thread t holds
      bool first = is_first;
      for (size_t base = 0; base < s.size(); base += 8) {
        for (size_t i = 0; i < 2; ++i) {
          const float score = s[base + 2 * t + i];
          row_max_[t] = first ? score : MaxFtz(row_max_[t], score);
          first = false;
        }
      }
    }
    AllReduce(row_max_, MaxFtz);
    float scores_scale = 0;
    for (size_t t = 0; t < 4; ++t) {
      if (!is_first) {
        const float current = check_inf && row_max_[t] == -HUGE_VALF ? 0.0f : row_max_[t];
        scores_scale = Ex2(MulFtz(AddFtz(prev[t], -current), scale_softmax_log2_));
      }
      const float max_scaled =
          row_max_[t] == -HUGE_VALF ? 0.0f : MulFtz(row_max_[t], scale_softmax_log2_);
      bool first = true;
      for (size_t base = 0; base < s.size(); base += 8) {
        for (size_t i = 0; i < 2; ++i) {
          float& p = s[base + 2 * t + i];
          if (kernel_.exponent == Kernel::kFused) {
            p = Ex2(FmaFtz(p, scale_softmax_log2_, -max_scaled));
          } else if (kernel_.exponent == Kernel::kScaled) {
            p = Ex2(AddFtz(MulFtz(p, scale_softmax_log2_), -max_scaled));
          } else {
            const float M = row_max_[t] == -HUGE_VALF ? 0.0f : row_max_[t];
            p = Ex2(MulFtz(AddFtz(p, -M), scale_softmax_log2_));
          }
          if (kernel_.one_sum) continue;
          if (first && is_first) {
            row_sum_[t] = p;
          } else if (first) {
            row_sum_[t] = kernel_.rescale_sum_apart ? AddFtz(MulFtz(row_sum_[t], scores_scale), p)
                                                    : FmaFtz(row_sum_[t], scores_scale, p);
          } else {
            row_sum_[t] = AddFtz(row_sum_[t], p);
          }
          first = false;
        }
      }
    }
    for (size_t j = 0; j < s.size() && kernel_.one_sum; ++j) {
      const float before = j == 0 ? MulFtz(row_sum_[0], scores_scale) : row_sum_[0];
      row_sum_[0] = j == 0 && is_first ? s[0] : AddFtz(before, s[j]);
    }
    if (is_first) return;
    for (float& o : acc_o_) o = MulFtz(o, scores_scale);
  }

  template <typename Op>
  static void AllReduce(std::array<float, 4>& x, const Op& op) {
    for (const size_t offset : {size_t{2}, size_t{1}}) {
      const std::array<float, 4> theirs = x;
      for (size_t t = 0; t < 4; ++t) x[t] = op(x[t], theirs[t ^ offset]);
    }
  }

  // 16 keys of P V; V is cleared past the last key.
  void AddSlice(const std::vector<float>& p, const std::vector<std::vector<float>>& v,
                int64_t block, int64_t at) {
    std::array<float, 16> a, b;
    for (size_t d = 0; d < acc_o_.size(); ++d) {
      for (size_t i = 0; i < 16; ++i) {
        const size_t key = static_cast<size_t>(block + at) + i;
        a[i] = To16(gpu_.bf16, p[static_cast<size_t>(at) + i]);
        b[i] = key < v.size() ? v[key][d] : 0.0f;
      }
      acc_o_[d] = Mma16(gpu_, a.data(), b.data(), acc_o_[d]);
    }
  }

  // normalize_softmax_lse, and the conversion of the output.
  RowAnswer Epilogue() {
    AllReduce(row_sum_, AddFtz);
    const float sum = row_sum_[0], M = row_max_[0];
    const bool empty = Ftz(sum) == 0 || std::isnan(sum);
    const float inv_sum = empty ? 1.0f : Ftz(gpu_.rcp(Ftz(sum)));
    RowAnswer answer;
    for (const float o : acc_o_) {
      const bool divide = kernel_.divide && !empty;
      const float normal = divide ? Ftz(Ftz(o) / Ftz(sum)) : MulFtz(o, inv_sum);
      answer.o.push_back(To16(gpu_.bf16, normal));
    }
    const float ln2 = 0.693147182464599609375f, lg2 = empty ? 0 : Ftz(gpu_.lg2(Ftz(sum)));
    switch (gpu_.lse_fusion) {
      case 0:
        answer.lse = AddFtz(MulFtz(M, softmax_scale_), MulFtz(lg2, ln2));
        break;
      case 1:
        answer.lse = FmaFtz(M, softmax_scale_, MulFtz(lg2, ln2));
        break;
      default:
        answer.lse = FmaFtz(lg2, ln2, MulFtz(M, softmax_scale_));
    }
    if (empty) answer.lse = HUGE_VALF;
    return answer;
  }

  const Gpu& gpu_;
  const Kernel kernel_;
  const float softmax_scale_;
  float scale_softmax_log2_ = 0;
  std::array<float, 4> row_max_ = {}, row_sum_ = {};
  std::vector<float> acc_o_;
};

// Correctly rounded, by MPFR; a result that is subnormal is a zero to who flushes.
template <typename Function>
float ByMpfr(float x, const Function& function) {
  mpfr_t number;
  mpfr_init2(number, 24);
  mpfr_set_flt(number, x, MPFR_RNDN);
  function(number);
  const float result = mpfr_get_flt(number, MPFR_RNDN);
  mpfr_clear(number);
  return result;
}
inline float Ex2ByMpfr(float x) {
  return ByMpfr(x, [](mpfr_t y) { mpfr_exp2(y, y, MPFR_RNDN); });
}
inline float RcpByMpfr(float x) {
  return ByMpfr(x, [](mpfr_t y) { mpfr_ui_div(y, 1, y, MPFR_RNDN); });
}
inline float Lg2ByMpfr(float x) {
  return ByMpfr(x, [](mpfr_t y) { mpfr_log2(y, y, MPFR_RNDN); });
}

// That GPU of unit "ampere" or "hopper" whose functions are correctly rounded.
inline Gpu CorrectlyRoundedGpu(bool hopper, bool bf16) {
  Gpu gpu{Ex2ByMpfr, RcpByMpfr, Lg2ByMpfr};
  gpu.L = hopper ? 16 : 8;
  gpu.F = hopper ? 25 : 24;
  gpu.bf16 = bf16;
  return gpu;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_REPLAY_QUAD_ORACLE_H_
