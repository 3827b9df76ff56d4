// What this core can do: independent f32 FMAs from registers.
#ifndef BITANCHOR_BENCH_FMA_PEAK_H_
#define BITANCHOR_BENCH_FMA_PEAK_H_

namespace bitanchor::bench {

// GF/s of one core (an FMA counts two), the best of a few short runs, measured anew at each call on
// the best target.
double FmaPeakGFs();

}  // namespace bitanchor::bench

#endif  // BITANCHOR_BENCH_FMA_PEAK_H_
