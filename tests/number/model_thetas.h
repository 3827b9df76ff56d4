// Bases of the rotary embedding that published models use, and what rescaling makes of 10000.
#ifndef BITANCHOR_TESTS_NUMBER_MODEL_THETAS_H_
#define BITANCHOR_TESTS_NUMBER_MODEL_THETAS_H_

#include <cmath>
#include <vector>

namespace bitanchor::testing {

inline std::vector<float> ModelThetas() {
  std::vector<float> thetas = {
      10.0f, 1.5f,   100.0f, 256.0f, 500.0f, 1e3f,   2e3f,       1e4f,       2e4f,   4e4f,   5e4f,
      1e5f,  1.3e5f, 1.5e5f, 1.6e5f, 2e5f,   2.5e5f, 3e5f,       4e5f,       5e5f,   6e5f,   7.5e5f,
      8e5f,  1e6f,   1.5e6f, 2e6f,   2.5e6f, 3e6f,   3.5e6f,     4e6f,       5e6f,   6e6f,   7e6f,
      8e6f,  9e6f,   1e7f,   1.5e7f, 2e7f,   2.5e7f, 3e7f,       5e7f,       5.3e7f, 7.5e7f, 8e7f,
      1e8f,  2e8f,   5e8f,   1e9f,   1e10f,  1e11f,  1000042.0f, 999999.442f};
  for (int e = 1; e <= 32; ++e) thetas.push_back(std::ldexp(1.0f, e));
  // Position-dependent ("NTK") scaling: base * factor^(R / (R - 2)).
  for (const double base : {1e4, 5e5, 1e6}) {
    for (const int R : {32, 64, 80, 96, 128, 192, 256}) {
      for (const double factor : {1.5, 2.0, 3.0, 4.0, 8.0, 16.0, 32.0})
        thetas.push_back(static_cast<float>(base * std::pow(factor, R / (R - 2.0))));
    }
  }
  // Plain multiples of 10000.
  for (int n = 2; n <= 40; ++n) thetas.push_back(1e4f * static_cast<float>(n) / 4);
  return thetas;
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_NUMBER_MODEL_THETAS_H_
