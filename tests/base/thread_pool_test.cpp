// Every item is done once, by any number of threads, and failures come out.
#include "base/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <stdexcept>
#include <vector>

namespace galago {
namespace {

class ThreadPoolTest : public ::testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, DoesEveryItemOnce) {
  ThreadPool pool(GetParam());
  EXPECT_EQ(pool.n_threads(), GetParam());
  for (const std::int64_t n : {0, 1, 2, 3, 1000}) {
    std::vector<std::atomic<int>> done(static_cast<std::size_t>(n));
    std::atomic<bool> thread_out_of_range = false;
    pool.parallel_for(n, [&](std::int64_t item, int thread) {
      ++done[static_cast<std::size_t>(item)];
      if (thread < 0 || thread >= GetParam()) thread_out_of_range = true;
    });
    for (const auto& count : done) ASSERT_EQ(count, 1);
    EXPECT_FALSE(thread_out_of_range);
  }
}

TEST_P(ThreadPoolTest, ManyShortLoopsFollowEachOther) {
  ThreadPool pool(GetParam());
  std::atomic<std::int64_t> sum = 0;
  for (int round = 0; round < 3000; ++round) {
    pool.parallel_for(4, [&](std::int64_t item, int) { sum += item; });
  }
  EXPECT_EQ(sum, 3000 * 6);
}

TEST_P(ThreadPoolTest, AnExceptionComesOutAndThePoolGoesOn) {
  ThreadPool pool(GetParam());
  EXPECT_THROW(pool.parallel_for(100,
                                 [](std::int64_t item, int) {
                                   if (item == 50) throw std::runtime_error("item 50");
                                 }),
               std::runtime_error);
  std::atomic<int> done = 0;
  pool.parallel_for(10, [&](std::int64_t, int) { ++done; });
  EXPECT_EQ(done, 10);
}

INSTANTIATE_TEST_SUITE_P(Threads, ThreadPoolTest, ::testing::Values(1, 2, 5));

}  // namespace
}  // namespace galago
