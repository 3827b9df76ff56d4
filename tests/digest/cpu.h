// What this CPU can run, asked of the compiler's runtime and not of Highway, so that a target that
// did not run for want of the CPU is told from one that did not run for any other reason.
#ifndef BITANCHOR_TESTS_DIGEST_CPU_H_
#define BITANCHOR_TESTS_DIGEST_CPU_H_

#include <string>

namespace bitanchor::digest {

// The first feature of `target` that this CPU is known to lack; empty: none. Knows x86 alone: of
// other architectures' targets nothing is known to be lacking.
std::string FeatureThisCpuLacks(const std::string& target);

}  // namespace bitanchor::digest

#endif  // BITANCHOR_TESTS_DIGEST_CPU_H_
