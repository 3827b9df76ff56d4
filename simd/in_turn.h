// Tasks of a ParallelFor that end in ascending order.
#ifndef BITANCHOR_SIMD_IN_TURN_H_
#define BITANCHOR_SIMD_IN_TURN_H_

#include <condition_variable>
#include <cstdint>
#include <mutex>

namespace bitanchor::simd {

// Of tasks that are begun in ascending order, from 0.
class InTurn {
 public:
  // work() at any time, then body() after the bodies of all lower tasks and never beside one.
  // Once a task has thrown, which Do passes on, no body is begun and Do returns without it: else
  // those above the one that threw would wait for ever.
  template <typename Work, typename Body>
  void Do(int64_t task, const Work& work, const Body& body) {
    try {
      work();
      std::unique_lock<std::mutex> lock(mutex_);
      changed_.wait(lock, [&] { return failed_ || next_ == task; });
      if (failed_) return;
      body();
      ++next_;
      changed_.notify_all();
    } catch (...) {
      Fail();
      throw;
    }
  }

 private:
  void Fail() {
    const std::lock_guard<std::mutex> lock(mutex_);
    failed_ = true;
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t next_ = 0;
  bool failed_ = false;
};

}  // namespace bitanchor::simd

#endif  // BITANCHOR_SIMD_IN_TURN_H_
