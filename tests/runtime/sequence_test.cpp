// Page tables grow and shrink with their sequence and give back what they took.
#include "runtime/sequence.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

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
    Sequence sequence(pool, {.page_tokens = 16}, 64, {});
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
  Sequence sequence(pool, {.page_tokens = 16}, 64, {});
  sequence.append(keys(10));
  auto other = keys(20);
  EXPECT_EQ(sequence.common_prefix(other), 10);
  other[4] = 0;
  EXPECT_EQ(sequence.common_prefix(other), 4);
  EXPECT_EQ(sequence.common_prefix({}), 0);
}

/// Two pages of sinks, windows of 40 positions, steps of up to 20.
constexpr KvRetention windowed{.page_tokens = 16, .window = 40, .sinks = 17, .most_rows = 20};

TEST(Sequence, UsesPagesAnewThatNoQueryWillSee) {
  ASSERT_EQ(windowed.most_pages(1000), 2 + 5);  // 59 positions touch five pages
  ASSERT_EQ(windowed.most_pages(33), 3);
  memory::PagePool pool(7);
  Sequence sequence(pool, windowed, 1000, {});
  sequence.reserve(1000);
  EXPECT_EQ(pool.n_free(), 0);
  const std::vector<memory::PageId> sinks(sequence.pages().begin(), sequence.pages().begin() + 2);
  const auto all = keys(1000);
  std::size_t done = 0;
  for (std::size_t n = 20; done + n <= all.size(); n = n % 20 + 1) {
    const std::vector<memory::PageId> before(sequence.pages().begin(), sequence.pages().end());
    const std::int64_t had_given_back = sequence.given_back();
    sequence.append(std::span(all).subspan(done, n));
    // Every position that the new ones see is where it was, and they have places.
    for (std::size_t p = 0; p < done; ++p) {
      if (p >= 17 && p + 40 <= done) continue;
      const auto page_of = [p](std::span<const memory::PageId> pages, std::int64_t given_back) {
        return pages[(p < 32 ? p : p - static_cast<std::size_t>(given_back)) / 16];
      };
      ASSERT_EQ(page_of(sequence.pages(), sequence.given_back()), page_of(before, had_given_back)) << p;
    }
    done += n;
    ASSERT_GE(std::ssize(sequence.pages()) * 16, sequence.length() - sequence.given_back());
  }
  EXPECT_TRUE(std::equal(sinks.begin(), sinks.end(), sequence.pages().begin()));
  sequence.truncate(0);
  EXPECT_EQ(pool.n_free(), 7);
  EXPECT_EQ(sequence.given_back(), 0);
}

TEST(Sequence, GoesOnOnlyWhereAllThatIsSeenIsLeft) {
  memory::PagePool pool(7);
  Sequence sequence(pool, windowed, 1000, {});
  const auto all = keys(300);
  for (std::size_t done = 0; done < all.size(); done += 20) sequence.append(std::span(all).subspan(done, 20));
  // Position 280 was the first of the last step; 241 is the first that it saw, in the page from 240 on.
  EXPECT_EQ(sequence.given_back(), 240 - 32);
  EXPECT_EQ(sequence.common_prefix(all), 300);
  EXPECT_EQ(sequence.common_prefix(std::span(all).first(279)), 279);
  EXPECT_EQ(sequence.common_prefix(std::span(all).first(278)), 32)
      << "239 is gone: the sinks' pages are left";
  EXPECT_EQ(sequence.common_prefix(std::span(all).first(20)), 20);
  sequence.truncate(279);
  EXPECT_EQ(sequence.given_back(), 240 - 32);
  sequence.truncate(32);
  EXPECT_EQ(sequence.given_back(), 0);
  EXPECT_EQ(sequence.pages().size(), 2U);
}

TEST(Sequence, WithSharedPagesTakesItsOwnBeforehand) {
  memory::PagePool pool(12);
  const auto all = keys(400);
  Sequence first(pool, windowed, 1000, {});
  first.append(std::span(all).first(20));
  for (std::size_t done = 20; done < 80; done += 20) first.append(std::span(all).subspan(done, 20));
  ASSERT_EQ(pool.n_free(), 12 - 5);
  Sequence second(pool, windowed, 1000, {});
  second.share(first, 80);
  EXPECT_EQ(second.pages_to_take(400), 5)
      << "the sinks' pages stay shared, the others are given up on the way";
  second.reserve(400);
  EXPECT_EQ(second.lendable(), 32);
  EXPECT_EQ(first.lendable(), 80);
  ASSERT_EQ(pool.n_free(), 2);
  pool.take();
  pool.take();
  for (std::size_t done = 80; done < all.size(); done += 20) second.append(std::span(all).subspan(done, 20));
  EXPECT_EQ(second.length(), 400);
  EXPECT_EQ(first.common_prefix(all), 80) << "whose pages nobody wrote to";
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
