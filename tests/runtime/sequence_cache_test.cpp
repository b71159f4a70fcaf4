// Pages of equal beginnings are there once; what is kept gives way to what is in work.
#include "runtime/sequence_cache.h"

#include <gtest/gtest.h>

#include <numeric>
#include <utility>
#include <vector>

namespace galago::runtime {
namespace {

constexpr std::int64_t page = 16;

class SequenceCacheTest : public ::testing::Test {
 protected:
  SequenceCacheTest() {
    configuration_.context = 4 * page;
    configuration_.batch = 2;
    configuration_.kv_tokens = 6 * page;
    cache_.emplace(configuration_, rope_,
                   [this](memory::PageId from, memory::PageId to) { copies_.emplace_back(from, to); });
  }

  /// Positions that count up from `first`, the last `n_own` ones nobody else's.
  static std::vector<ContentKey> keys(std::size_t n, ContentKey own = 0, std::size_t n_own = 0) {
    std::vector<ContentKey> result(n);
    std::iota(result.begin(), result.end(), 100);
    for (std::size_t i = n - n_own; i < n; ++i) result[i] = own * 1000 + i;
    return result;
  }

  /// Admits a prompt and has it computed.
  Sequence* begin(const std::vector<ContentKey>& prompt, std::int64_t n_tokens) {
    const auto most = static_cast<std::int64_t>(prompt.size()) - 1;
    Sequence* sequence = cache_->admit({prompt, n_tokens, most, std::nullopt});
    if (sequence == nullptr) return nullptr;
    cached_ = sequence->length();
    sequence->append(std::span(prompt).subspan(static_cast<std::size_t>(cached_)));
    return sequence;
  }

  Configuration configuration_;
  model::Rope rope_;
  std::vector<std::pair<memory::PageId, memory::PageId>> copies_;
  std::optional<SequenceCache> cache_;
  std::int64_t cached_ = 0;
};

TEST_F(SequenceCacheTest, EqualBeginningsOfTwoInWorkAreThereOnce) {
  Sequence* first = begin(keys(40), 48);
  EXPECT_EQ(cache_->n_free_pages(), 3);
  Sequence* second = begin(keys(44, 1, 6), 48);  // 38 in common: two whole pages, six of the third
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(cached_, 38);
  EXPECT_EQ(cache_->n_free_pages(), 2) << "one page of its own";
  EXPECT_EQ(first->pages()[1], second->pages()[1]);
  EXPECT_NE(first->pages()[2], second->pages()[2]);
  ASSERT_EQ(copies_.size(), 1U) << "the page in which they differ is copied before it is written to";
  EXPECT_EQ(copies_.front(), std::pair(first->pages()[2], second->pages()[2]));
  cache_->drop(*first);
  EXPECT_EQ(cache_->n_free_pages(), 3) << "the shared pages stay the other's";
  cache_->keep(*second);
  cache_->clear();
  EXPECT_EQ(cache_->n_free_pages(), 6);
}

TEST_F(SequenceCacheTest, WaitsForPagesOfThoseInWork) {
  Sequence* first = begin(keys(30), 64);
  EXPECT_EQ(begin(keys(30, 2, 30), 48), nullptr);
  cache_->keep(*first);
  EXPECT_NE(begin(keys(30, 2, 30), 48), nullptr);
}

TEST_F(SequenceCacheTest, WhatIsKeptGivesWayOldestFirst) {
  cache_->keep(*begin(keys(32, 1, 32), 32));
  cache_->keep(*begin(keys(32, 2, 32), 32));
  cache_->keep(*begin(keys(16, 3, 16), 16));
  EXPECT_EQ(cache_->n_free_pages(), 1);
  cache_->keep(*begin(keys(33, 4, 33), 33));
  const auto cached = [&](ContentKey own, std::size_t n) {
    const auto prompt = keys(n, own, n);
    return cache_->cached_prefix({prompt, 32, static_cast<std::int64_t>(n), std::nullopt});
  };
  EXPECT_EQ(cached(1, 32), 0) << "the oldest";
  EXPECT_EQ(cached(2, 32), 32);
  EXPECT_EQ(cached(3, 16), 16);
}

TEST_F(SequenceCacheTest, AConversationGoesOnInItsOwnPages) {
  Sequence* first = begin(keys(30), 30);
  cache_->keep(*first);
  EXPECT_EQ(begin(keys(50), 64), first);
  EXPECT_EQ(cached_, 30);
  EXPECT_TRUE(copies_.empty());
}

TEST_F(SequenceCacheTest, OtherAdaptersKeysAreOfNoUse) {
  cache_->keep(*begin(keys(30), 30));
  const auto prompt = keys(30);
  EXPECT_EQ(cache_->cached_prefix({prompt, 30, 29, std::nullopt}), 29);
  EXPECT_EQ(cache_->cached_prefix({prompt, 30, 29, std::size_t{0}}), 0);
}

}  // namespace
}  // namespace galago::runtime
