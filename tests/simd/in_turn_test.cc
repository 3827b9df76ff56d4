// Tasks in turn, and that one which throws keeps nobody waiting.
#include "simd/in_turn.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "simd/parallel.h"

namespace bitanchor::simd {
namespace {

// Ends a test whose tasks wait for ever.
class Deadline {
 public:
  Deadline() { alarm(30); }
  ~Deadline() { alarm(0); }
};

TEST(InTurn, BodiesRunInAscendingOrder) {
  const Deadline deadline;
  EngineOptions options;
  options.threads = 4;
  InTurn in_turn;
  std::atomic<int64_t> works{0};
  std::vector<int64_t> order;
  ParallelFor(options, 200, [&](int64_t task, int) {
    in_turn.Do(
        task, [&] { ++works; }, [&] { order.push_back(task); });
  });
  EXPECT_EQ(works, 200);
  ASSERT_EQ(order.size(), 200u);
  for (int64_t task = 0; task < 200; ++task) EXPECT_EQ(order[static_cast<size_t>(task)], task);
}

// Tasks 1 to 3 have begun when task 0 throws.
template <typename Work, typename Body>
void ExpectThatNobodyWaits(const Work& work, const Body& body) {
  const Deadline deadline;
  InTurn in_turn;
  std::atomic<int> begun{0}, bodies{0};
  std::vector<std::thread> waiting;
  for (int64_t task = 1; task <= 3; ++task) {
    waiting.emplace_back([&, task] {
      in_turn.Do(
          task, [&] { ++begun; }, [&] { ++bodies; });
    });
  }
  while (begun < 3) std::this_thread::yield();
  EXPECT_THROW(in_turn.Do(0, work, body), std::bad_alloc);
  for (std::thread& thread : waiting) thread.join();
  EXPECT_EQ(bodies, 0);
  in_turn.Do(
      4, [] {}, [&] { ++bodies; });
  EXPECT_EQ(bodies, 0);
}

TEST(InTurn, NobodyWaitsForWorkThatThrew) {
  ExpectThatNobodyWaits([] { throw std::bad_alloc(); }, [] {});
}

TEST(InTurn, NobodyWaitsForABodyThatThrew) {
  ExpectThatNobodyWaits([] {}, [] { throw std::bad_alloc(); });
}

TEST(InTurn, WhatATaskThrowsLeavesParallelFor) {
  const Deadline deadline;
  EngineOptions options;
  for (options.threads = 1; options.threads <= 4; ++options.threads) {
    for (const int64_t bad : {0, 7, 49}) {
      InTurn in_turn;
      int64_t bodies = 0;
      const auto run = [&](int64_t task, int) {
        const auto work = [&] {
          if (task == bad) throw std::bad_alloc();
        };
        in_turn.Do(task, work, [&] { ++bodies; });
      };
      EXPECT_THROW(ParallelFor(options, 50, run), std::bad_alloc);
      EXPECT_LE(bodies, bad);
    }
  }
}

}  // namespace
}  // namespace bitanchor::simd
