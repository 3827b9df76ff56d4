// MPFR as the oracle of the elementary functions: correctly rounded to f32, subnormals included.
#ifndef BITANCHOR_TESTS_NUMBER_MPFR_ORACLE_H_
#define BITANCHOR_TESTS_NUMBER_MPFR_ORACLE_H_

#include <mpfr.h>

#include "lib/number/elementary.h"
#include "lib/number/format.h"

namespace bitanchor::testing {

using MpfrFunction = int (*)(mpfr_ptr, mpfr_srcptr, mpfr_rnd_t);

// Sets MPFR's exponent range to f32's for its lifetime and rounds results to f32, subnormals
// included.
class Oracle {
 public:
  Oracle() : emin_(mpfr_get_emin()), emax_(mpfr_get_emax()) {
    mpfr_init2(x_, 24);
    mpfr_init2(y_, 24);
    mpfr_init2(z_, 24);
    mpfr_set_emin(-148);
    mpfr_set_emax(128);
  }
  ~Oracle() {
    mpfr_clears(x_, y_, z_, nullptr);
    mpfr_set_emin(emin_);
    mpfr_set_emax(emax_);
  }
  float Of(MpfrFunction f, float x) {
    mpfr_set_flt(x_, x, MPFR_RNDN);
    return Result(f(z_, x_, MPFR_RNDN));
  }
  float Pow(float x, float y) {
    mpfr_set_flt(x_, x, MPFR_RNDN);
    mpfr_set_flt(y_, y, MPFR_RNDN);
    return Result(mpfr_pow(z_, x_, y_, MPFR_RNDN));
  }

 private:
  float Result(int ternary) {
    mpfr_subnormalize(z_, ternary, MPFR_RNDN);
    return Canonical(mpfr_get_flt(z_, MPFR_RNDN));
  }
  mpfr_t x_, y_, z_;
  mpfr_exp_t emin_, emax_;
};

struct Function {
  const char* name;
  float (*ours)(float);
  MpfrFunction theirs;
};

inline constexpr Function kFunctions[] = {{"exp", number::Exp, mpfr_exp},
                                          {"exp2", number::Exp2, mpfr_exp2},
                                          {"log", number::Log, mpfr_log},
                                          {"sin", number::Sin, mpfr_sin},
                                          {"cos", number::Cos, mpfr_cos}};

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_NUMBER_MPFR_ORACLE_H_
