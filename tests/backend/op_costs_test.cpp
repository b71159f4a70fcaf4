// Costs of ops whose formulas are not a glance: attention over pages against counting, product by product.
#include "backend/op_costs.h"

#include <gtest/gtest.h>

#include <set>
#include <utility>

namespace galago::backend {
namespace {

constexpr Heads heads_of(std::int64_t window, std::int64_t sinks) {
  return {.n_heads = 6, .n_kv_heads = 2, .head_size = 10, .scale = 1, .window = window, .sinks = sinks};
}

LayerPages pages_of_fp16() {
  LayerPages pages{};
  pages.format = DType::f16;
  return pages;
}

struct Counted {
  double pairs = 0;
  std::set<std::int64_t> positions{};
};

/// What the queries at [first_position, + n_rows) see, one by one.
Counted count(const SequenceRows& rows, const Heads& heads) {
  Counted counted;
  for (std::int64_t position = rows.first_position; position < rows.first_position + rows.n_rows;
       ++position) {
    for (std::int64_t seen = 0; seen <= position; ++seen) {
      if (heads.window > 0 && seen >= heads.sinks && seen <= position - heads.window) continue;
      ++counted.pairs;
      counted.positions.insert(seen);
    }
  }
  return counted;
}

TEST(OpCosts, AttentionOverPagesIsWhatItsQueriesSee) {
  for (const std::int64_t before : {0, 1, 7, 30}) {
    for (const std::int64_t n_rows : {1, 2, 9, 40}) {
      for (const auto& [window, sinks] :
           {std::pair{0, 0}, {1, 0}, {5, 0}, {8, 3}, {5, 1}, {4, 40}, {100, 4}}) {
        SCOPED_TRACE(::testing::Message()
                     << before << " + " << n_rows << ", window " << window << ", sinks " << sinks);
        const SequenceRows rows{0, n_rows, before, {}};
        const Heads heads = heads_of(window, sinks);
        const Matrix q{nullptr, n_rows, 60, 60};
        const Cost cost = costs::attend_pages(q, {&rows, 1}, pages_of_fp16(), heads);
        const Counted counted = count(rows, heads);
        EXPECT_EQ(cost.flops, 4 * counted.pairs * 60);
        const auto positions = static_cast<Bytes>(counted.positions.size());
        EXPECT_EQ(cost.bytes_read, static_cast<Bytes>(n_rows) * 60 * 4 + 2 * positions * 2 * 10 * 2);
        EXPECT_EQ(cost.bytes_written, static_cast<Bytes>(n_rows) * 60 * 4);
      }
    }
  }
}

TEST(OpCosts, SequencesOfOneBatchAddUp) {
  const SequenceRows both[] = {{0, 3, 10, {}}, {3, 1, 40, {}}};
  const Matrix q{nullptr, 4, 60, 60};
  const Cost together = costs::attend_pages(q, both, pages_of_fp16(), heads_of(0, 0));
  const Cost first = costs::attend_pages(q, {both, 1}, pages_of_fp16(), heads_of(0, 0));
  const Cost second = costs::attend_pages(q, {both + 1, 1}, pages_of_fp16(), heads_of(0, 0));
  EXPECT_EQ(together.flops, first.flops + second.flops);
  EXPECT_EQ(together.bytes_read, first.bytes_read + second.bytes_read);
  EXPECT_EQ(together.bytes_written, first.bytes_written + second.bytes_written);
}

TEST(OpCosts, AResidualIsReadBesides) {
  const Matrix x{nullptr, 5, 32, 32}, y{nullptr, 5, 7, 7};
  const Weight w{.data = nullptr, .format = DType::f16, .shape = {7, 32}};
  const Cost plain = costs::linear(x, w, {}, y);
  const Cost added = costs::linear(x, w, {.residual = y}, y);
  EXPECT_EQ(plain.flops, 2.0 * 5 * 32 * 7);
  EXPECT_EQ(plain.bytes_read, Bytes{5 * 32 * 4 + 7 * 32 * 2});
  EXPECT_EQ(added.bytes_read, plain.bytes_read + 5 * 7 * 4);
}

}  // namespace
}  // namespace galago::backend
