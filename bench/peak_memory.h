// What an operation needs beyond the memory that this process holds already.
#ifndef BITANCHOR_BENCH_PEAK_MEMORY_H_
#define BITANCHOR_BENCH_PEAK_MEMORY_H_

#include <malloc.h>

#include <fstream>
#include <string>

namespace bitanchor::bench {

// A line of /proc/self/status in MB of 2^20 bytes; 0 where there is none.
inline double StatusMB(const std::string& field) {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name; status.ignore(1 << 12, '\n')) {
    double kb = 0;
    if (name == field + ":" && status >> kb) return kb / 1024;
  }
  return 0;
}

// The most resident memory, in MB, during operation() beyond what was resident before it. Memory
// that malloc kept is given back first, so that it counts when it is used again. Linux and glibc.
template <typename Operation>
double PeakGrowthMB(const Operation& operation) {
  malloc_trim(0);
  std::ofstream("/proc/self/clear_refs") << 5;  // the peak is what is resident now
  const double before = StatusMB("VmRSS");
  operation();
  return StatusMB("VmHWM") - before;
}

}  // namespace bitanchor::bench

#endif  // BITANCHOR_BENCH_PEAK_MEMORY_H_
