// Keeps the caller's floating-point environment out of our arithmetic and ours out of the caller's.
#ifndef BITANCHOR_LIB_NUMBER_FLOAT_ENVIRONMENT_H_
#define BITANCHOR_LIB_NUMBER_FLOAT_ENVIRONMENT_H_

#include <cfenv>

namespace bitanchor {

// For its lifetime: round to nearest-even, subnormals kept, exceptions masked (FE_DFL_ENV, which in
// glibc also clears MXCSR's FTZ and DAZ and AArch64's FZ). On destruction the environment is what
// it was, exception flags included. Per thread: every task that computes makes its own.
class FloatEnvironment {
 public:
  FloatEnvironment() {
    std::fegetenv(&saved_);
    std::fesetenv(FE_DFL_ENV);
  }
  ~FloatEnvironment() { std::fesetenv(&saved_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
  std::fenv_t saved_;
};

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_FLOAT_ENVIRONMENT_H_
