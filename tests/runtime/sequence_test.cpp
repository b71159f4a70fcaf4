// Page tables grow and shrink with their sequence and give back what they took.
#include "runtime/sequence.h"

#include <gtest/gtest.h>

#include <array>
#include <numeric>

#include "galago/error.h"

namespace galago::runtime {
namespace {

std::vector<ContentKey> keys(std::size_t n) {
  std::vector<ContentKey> result(n);
  std::iota(result.begin(), result.end(), 100);
  return result;
}

TEST(Sequence, TakesPagesAsItGrowsAndGivesThemBack) {
  memory::PagePool pool(4);
  {
    Sequence sequence(pool, 16, 64, {});
    sequence.append(keys(16));
    EXPECT_EQ(pool.n_free(), 3);
    sequence.append(keys(1));
    EXPECT_EQ(pool.n_free(), 2);
    sequence.append(keys(47));
    EXPECT_EQ(pool.n_free(), 0);
    sequence.truncate(17);
    EXPECT_EQ(pool.n_free(), 2);
    sequence.truncate(16);
    EXPECT_EQ(pool.n_free(), 3);
    EXPECT_EQ(sequence.length(), 16);
  }
  EXPECT_EQ(pool.n_free(), 4);
}

TEST(Sequence, FindsTheCommonBeginning) {
  memory::PagePool pool(4);
  Sequence sequence(pool, 16, 64, {});
  sequence.append(keys(10));
  auto other = keys(20);
  EXPECT_EQ(sequence.common_prefix(other), 10);
  other[4] = 0;
  EXPECT_EQ(sequence.common_prefix(other), 4);
  EXPECT_EQ(sequence.common_prefix({}), 0);
}

TEST(PagePool, RefusesWithTheNumbersWhenAllAreTaken) {
  memory::PagePool pool(1);
  pool.take();
  try {
    pool.take();
    FAIL() << "a page was given out twice";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::memory);
    EXPECT_NE(std::string(error.what()).find("all 1 KV pages"), std::string::npos);
  }
}

TEST(PagePool, ASharedPageIsFreeAfterItsLastOwner) {
  memory::PagePool pool(1);
  const memory::PageId page = pool.take();
  pool.retain(page);
  pool.release(page);
  EXPECT_EQ(pool.n_free(), 0);
  pool.release(page);
  EXPECT_EQ(pool.n_free(), 1);
}

}  // namespace
}  // namespace galago::runtime
