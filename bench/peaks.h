// What this machine can do, measured when asked: the yardsticks of the benchmarks.
#ifndef BITANCHOR_BENCH_PEAKS_H_
#define BITANCHOR_BENCH_PEAKS_H_

#include <cstdint>

namespace bitanchor::bench {

// GF/s of one core at independent f32 FMAs from registers (an FMA counts two), the best of a few
// short runs, on a value of simd/targets.h (0: the best).
double FmaPeakGFs(int64_t target);

// The same for VDPBF16PS (a pair of products counts four); 0 where this CPU has none.
double DotPeakGFs();

// GB/s of `threads` threads that read a large buffer, each its own part, from end to end by whole
// vectors; the best of a few runs.
double ReadGBs(int threads);

}  // namespace bitanchor::bench

#endif  // BITANCHOR_BENCH_PEAKS_H_
