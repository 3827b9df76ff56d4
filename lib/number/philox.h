// Philox4x32-10: a counter-based generator, so that any element's random word can be redone alone.
//
// Source: J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3",
// SC'11, section 3.3; the constants are those of the authors' Random123 (BSD 3-clause).
#ifndef BITANCHOR_LIB_NUMBER_PHILOX_H_
#define BITANCHOR_LIB_NUMBER_PHILOX_H_

#include <array>
#include <cstdint>

namespace bitanchor {

using PhiloxCounter = std::array<uint32_t, 4>;
using PhiloxKey = std::array<uint32_t, 2>;

// The four words of block `counter` of the stream `key`.
constexpr PhiloxCounter Philox4x32(PhiloxCounter counter, PhiloxKey key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t even = uint64_t{0xd2511f53u} * counter[0];
    const uint64_t odd = uint64_t{0xcd9e8d57u} * counter[2];
    counter = {static_cast<uint32_t>(odd >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(odd),
               static_cast<uint32_t>(even >> 32) ^ counter[3] ^ key[1],
               static_cast<uint32_t>(even)};
    key[0] += 0x9e3779b9u;  // Weyl sequence: the golden ratio
    key[1] += 0xbb67ae85u;  // and sqrt(3) - 1
  }
  return counter;
}

// The random word of stochastic rounding for element `index` under `seed`.
constexpr uint32_t StochasticWord(uint64_t seed, uint64_t index) {
  return Philox4x32({static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0},
                    {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)})[0];
}

}  // namespace bitanchor

#endif  // BITANCHOR_LIB_NUMBER_PHILOX_H_
