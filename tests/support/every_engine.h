// The engine in all the ways in which it can be asked to run.
#ifndef BITANCHOR_TESTS_SUPPORT_EVERY_ENGINE_H_
#define BITANCHOR_TESTS_SUPPORT_EVERY_ENGINE_H_

#include <gtest/gtest.h>

#include <string>

#include "simd/targets.h"

namespace bitanchor::testing {

// Calls body(options, "TARGET threads N") for every target this CPU has and several thread counts,
// each with a block size of its own. A target must say that it is what runs.
template <typename Body>
void ForEveryEngine(const Body& body) {
  int ran = 0;
  for (const simd::Target& target : simd::Targets()) {
    ASSERT_EQ(simd::RunningTarget(target.bit), target.name);
    for (const int threads : {1, 2, 7}) {
      simd::EngineOptions options;
      options.target = target.bit;
      options.threads = threads;
      options.key_block = 16 << (threads % 5);
      body(options, target.name + " threads " + std::to_string(threads));
      ++ran;
    }
  }
  ASSERT_GE(ran, 3);
}

}  // namespace bitanchor::testing

#endif  // BITANCHOR_TESTS_SUPPORT_EVERY_ENGINE_H_
