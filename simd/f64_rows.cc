#include "simd/f64_rows.h"

#include <cstddef>
#include <cstdint>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "simd/f64_rows.cc"
#include "hwy/foreach_target.h"
#include "simd/lanes-inl.h"

HWY_BEFORE_NAMESPACE();
namespace bitanchor::simd {
namespace HWY_NAMESPACE {

constexpr int64_t kEight = 8;  // F64Tag has 8 lanes or a divisor of 8

HWY_INLINE void MultiplyAdd(F64& sum, double a, F64 b) {  // two roundings
  sum = hn::Add(sum, hn::Mul(hn::Set(F64Tag(), a), b));
}

void F64Product(const double* const rows[8], const double* panel, int64_t K, double* const out[8]) {
  const F64Tag d;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  for (int64_t lane = 0; lane < kEight; lane += N) {
    F64 s0 = hn::Zero(d), s1 = s0, s2 = s0, s3 = s0, s4 = s0, s5 = s0, s6 = s0, s7 = s0;
    for (int64_t k = 0; k < K; ++k) {
      const F64 b = hn::LoadU(d, panel + k * kEight + lane);
      MultiplyAdd(s0, rows[0][k], b);
      MultiplyAdd(s1, rows[1][k], b);
      MultiplyAdd(s2, rows[2][k], b);
      MultiplyAdd(s3, rows[3][k], b);
      MultiplyAdd(s4, rows[4][k], b);
      MultiplyAdd(s5, rows[5][k], b);
      MultiplyAdd(s6, rows[6][k], b);
      MultiplyAdd(s7, rows[7][k], b);
    }
    hn::StoreU(s0, d, out[0] + lane);
    hn::StoreU(s1, d, out[1] + lane);
    hn::StoreU(s2, d, out[2] + lane);
    hn::StoreU(s3, d, out[3] + lane);
    hn::StoreU(s4, d, out[4] + lane);
    hn::StoreU(s5, d, out[5] + lane);
    hn::StoreU(s6, d, out[6] + lane);
    hn::StoreU(s7, d, out[7] + lane);
  }
}

// number::ExpF64 of x <= 0 or NaN, operation by operation.
HWY_INLINE F64 ExpOfNegative(F64 x) {
  const F64Tag d;
  const I64Tag di;
  const F64 shifter = hn::Set(d, 0x1.8p52);  // adding it rounds to an integer held in the low bits
  const F64 shifted = hn::Sub(shifter, hn::Mul(x, hn::Set(d, 0x1.71547652b82fep+0)));
  const F64 k = hn::Sub(shifter, shifted);
  F64 r = hn::Sub(x, hn::Mul(k, hn::Set(d, 0x1.62e42fefp-1)));
  r = hn::Sub(r, hn::Mul(k, hn::Set(d, 0x1.473de6af278edp-34)));
  F64 p = hn::Set(d, 1.0 / 6227020800.0);  // 1/13!, then down to 1/0!
  for (const double inverse :
       {1.0 / 479001600.0, 1.0 / 39916800.0, 1.0 / 3628800.0, 1.0 / 362880.0, 1.0 / 40320.0,
        1.0 / 5040.0, 1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0}) {
    p = hn::Add(hn::Mul(p, r), hn::Set(d, inverse));
  }
  // 2^k in two factors, so that a subnormal result is rounded once.
  const auto minus_k = hn::And(hn::BitCast(di, shifted), hn::Set(di, 0xfff));
  const auto half = hn::ShiftRight<1>(minus_k), rest = hn::Sub(minus_k, half);
  const auto bias = hn::Set(di, 1023);
  const auto power = [&](decltype(half) n) HWY_ATTR {  // 2^-n
    return hn::BitCast(d, hn::ShiftLeft<52>(hn::Sub(bias, n)));
  };
  const F64 y = hn::Mul(hn::Mul(p, power(half)), power(rest));
  return hn::IfThenElse(hn::Lt(x, hn::Set(d, -745.0)), hn::Zero(d), y);
}

void F64Softmax(F64Ranges ranges, double scale, const double* s, double* w) {
  const F64Tag d;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  HWY_ALIGN double lanes[kEight] = {};
  double m = -std::numeric_limits<double>::infinity();
  F64 most = hn::Set(d, m);
  for (const F64Range& range : ranges) {
    for (int64_t j = range[0]; j < range[1]; j += N) {
      const F64 x = hn::LoadU(d, s + j);
      most = hn::IfThenElse(hn::Gt(x, most), x, most);
    }
  }
  hn::Store(most, d, lanes);
  for (int64_t lane = 0; lane < N; ++lane) m = lanes[lane] > m ? lanes[lane] : m;
  HWY_ALIGN double partial[kEight] = {};
  for (int64_t lane = 0; lane < kEight; lane += N) {
    F64 sum = hn::Zero(d);
    for (const F64Range& range : ranges) {
      for (int64_t j = range[0] + lane; j < range[1]; j += kEight) {
        const F64 x = hn::Sub(hn::LoadU(d, s + j), hn::Set(d, m));
        const F64 y = ExpOfNegative(hn::Mul(x, hn::Set(d, scale)));
        hn::StoreU(y, d, w + j);
        sum = hn::Add(sum, y);
      }
    }
    hn::Store(sum, d, partial + lane);
  }
  double sum = 0;
  for (const double x : partial) sum += x;
  for (const F64Range& range : ranges) {
    for (int64_t j = range[0]; j < range[1]; j += N) {
      hn::StoreU(hn::Div(hn::LoadU(d, w + j), hn::Set(d, sum)), d, w + j);
    }
  }
}

void F64Compare(F64Ranges ranges, const double* s, const double* s_other, const double* w,
                const double* w_other, double* difference, double* signed_sum, double* abs_sum,
                double* logit_sum) {
  const F64Tag d;
  const int64_t N = static_cast<int64_t>(hn::Lanes(d));
  const auto add = [&](double* to, F64 x)
                       HWY_ATTR { hn::StoreU(hn::Add(hn::LoadU(d, to), x), d, to); };
  for (const F64Range& range : ranges) {
    for (int64_t j = range[0]; j < range[1]; j += N) {
      const F64 moved = hn::Sub(hn::LoadU(d, w + j), hn::LoadU(d, w_other + j));
      hn::StoreU(moved, d, difference + j);
      add(signed_sum + j, moved);
      add(abs_sum + j, hn::Abs(moved));
      add(logit_sum + j, hn::Abs(hn::Sub(hn::LoadU(d, s + j), hn::LoadU(d, s_other + j))));
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace bitanchor::simd
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include "simd/dispatch.h"

namespace bitanchor::simd {

HWY_EXPORT(F64Product);
HWY_EXPORT(F64Softmax);
HWY_EXPORT(F64Compare);

F64RowKernels RowKernelsOf(int64_t target) {
  return {&BITANCHOR_DISPATCH(F64Product, target), &BITANCHOR_DISPATCH(F64Softmax, target),
          &BITANCHOR_DISPATCH(F64Compare, target)};
}

}  // namespace bitanchor::simd
#endif  // HWY_ONCE
