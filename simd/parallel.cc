#include "simd/parallel.h"

#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>

#include <atomic>
#include <mutex>
#include <thread>

#include "lib/number/float_environment.h"

namespace bitanchor::simd {

namespace {

// What ThreadSanitizer must be told, because Debian's oneTBB is not instrumented: the caller's
// writes come before its tasks, and those before its return. Tasks are not ordered by it among
// themselves. Static: a worker reads nothing that the caller wrote before it is told.
#ifdef __SANITIZE_THREAD__
std::atomic<int64_t> order{0};
void TellOfWritesBefore() { order.fetch_add(1, std::memory_order_release); }
void TellOfReadsAfter() { (void)order.load(std::memory_order_acquire); }
#else
void TellOfWritesBefore() {}
void TellOfReadsAfter() {}
#endif

}  // namespace

int Workers(const EngineOptions& options) {
  if (options.threads > 0) return options.threads;
  const unsigned cores = std::thread::hardware_concurrency();
  return cores == 0 ? 1 : static_cast<int>(cores);
}

void ParallelFor(const EngineOptions& options, int64_t tasks,
                 const std::function<void(int64_t task, int worker)>& body) {
  std::mutex progress_mutex;
  int64_t done = 0;
  const auto run = [&](int64_t task, int worker) {
    {
      const FloatEnvironment environment;
      body(task, worker);
    }
    if (options.progress) {
      const std::lock_guard<std::mutex> lock(progress_mutex);
      options.progress(++done, tasks);
    }
  };
  const int workers = Workers(options);
  if (workers == 1 || tasks <= 1) {
    for (int64_t task = 0; task < tasks; ++task) run(task, 0);
    return;
  }
  const tbb::global_control control(tbb::global_control::max_allowed_parallelism,
                                    static_cast<size_t>(workers));
  tbb::task_arena arena(workers);
  std::atomic<int64_t> next{0};
  const auto work = [&](int) {
    TellOfReadsAfter();
    const int worker = tbb::this_task_arena::current_thread_index();
    try {
      for (int64_t task; (task = next.fetch_add(1)) < tasks;) run(task, worker);
    } catch (...) {
      next = tasks;
      TellOfWritesBefore();
      throw;
    }
    TellOfWritesBefore();
  };
  TellOfWritesBefore();
  arena.execute([&] { tbb::parallel_for(0, workers, work, tbb::simple_partitioner()); });
  TellOfReadsAfter();
}

}  // namespace bitanchor::simd
