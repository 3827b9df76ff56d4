// Independent tasks over threads.
#ifndef BITANCHOR_SIMD_PARALLEL_H_
#define BITANCHOR_SIMD_PARALLEL_H_

#include <cstdint>
#include <functional>

#include "simd/options.h"

namespace bitanchor::simd {

// The number of workers that `options` asks for, >= 1.
int Workers(const EngineOptions& options);

// Calls body(task, worker) once for every task in [0, tasks), each under a FloatEnvironment. Tasks
// are begun in ascending order: when one begins, all lower ones have begun. worker <
// Workers(options) and no two bodies with one worker run at the same time. One worker: a plain loop
// on this thread, without oneTBB. Exceptions thrown by a body come out here; no task begins after
// one.
void ParallelFor(const EngineOptions& options, int64_t tasks,
                 const std::function<void(int64_t task, int worker)>& body);

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_PARALLEL_H_
