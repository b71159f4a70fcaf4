// attention against the reference: ragged lengths, one token, page borders, odd heads, grouped queries.
#include <cmath>
#include <numeric>

#include "backend/cpu/cpu_backend_class.h"
#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tables.h"
#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::testing {
namespace {

using kernels::Element;

class AttentionTest : public KernelTest {
 public:
  void attend(const kernels::Attention& op) const {
    const std::int64_t n_scratch = kernels::attention_scratch_floats(op.n_rows * op.group, op.head_size,
                                                                     op.blocks.grouped != nullptr, op.bf16);
    std::vector<float> scratch(static_cast<std::size_t>(n_scratch), 99);
    kernels().attention(op, scratch.data());
  }
};

// Weights sum to 1 and values are below 1, so errors of scores (head_size * 2^-24 each) and of exp (2 ulp)
// carry over.
double bound(std::int64_t head_size) {
  return 2e-7 * (8 + static_cast<double>(head_size));
}

TEST_P(AttentionTest, BidirectionalEqualsTheReference) {
  for (const std::int64_t tokens : {1, 5, 64, 65, 130}) {
    for (const std::int64_t head_size : {4, 13, 16, 40, 88}) {
      SCOPED_TRACE(::testing::Message() << tokens << " tokens, heads of " << head_size);
      const std::int64_t stride = head_size + 7;
      const auto size = static_cast<std::size_t>(tokens * stride);
      const auto q = random_floats(size, 1, 2);
      const auto k = random_floats(size, 2, 2);
      const auto v = random_floats(size, 3);
      std::vector<float> out(size, 99);
      const float scale = 0.3F;
      attend({q.data(),
              stride,
              out.data(),
              stride,
              0,
              tokens,
              1,
              head_size,
              scale,
              tokens,
              0,
              {k.data(), v.data(), stride, Element::f32, kernels::max_block_keys},
              nullptr,
              0});
      for (std::int64_t row = 0; row < tokens; ++row) {
        const auto expected = kernels::reference::attend(q.data() + row * stride, k.data(), v.data(), stride,
                                                         tokens, head_size, scale);
        for (std::int64_t d = 0; d < head_size; ++d) {
          ASSERT_NEAR(out[static_cast<std::size_t>(row * stride + d)], expected[static_cast<std::size_t>(d)],
                      bound(head_size));
        }
        ASSERT_EQ(out[static_cast<std::size_t>(row * stride + head_size)], 99) << "wrote beyond the head";
      }
    }
  }
}

/// Keys and values of one head in pages that lie in the reverse order, and in a row as the reference wants
/// them.
struct Paged {
  static constexpr std::int64_t page_tokens = 16;

  Paged(std::int64_t tokens, std::int64_t head_size, Element kept_in)
      : element(kept_in),
        n_pages((tokens + page_tokens - 1) / page_tokens),
        page_values(2 * page_tokens * head_size) {
    const DType dtype = element == Element::f32 ? DType::f32 : DType::f16;
    values.resize(static_cast<std::size_t>(n_pages * page_values));
    const auto random = random_floats(values.size(), 11, 2);
    bytes.resize(values.size() * size_of(dtype));
    from_f32(dtype, random, bytes);
    to_f32(dtype, bytes, values);
    pages.resize(static_cast<std::size_t>(n_pages));
    std::iota(pages.rbegin(), pages.rend(), 0);
    page_bytes = page_values * static_cast<std::int64_t>(size_of(dtype));
    for (std::int64_t t = 0; t < n_pages * page_tokens; ++t) {
      const std::int64_t page = pages[static_cast<std::size_t>(t / page_tokens)];
      const float* key = values.data() + page * page_values + t % page_tokens * head_size;
      keys_in_a_row.insert(keys_in_a_row.end(), key, key + head_size);
      const float* value = key + page_tokens * head_size;
      values_in_a_row.insert(values_in_a_row.end(), value, value + head_size);
    }
  }

  /// Causal attention of rows [rows, group heads] at the positions after `before`.
  kernels::Attention causal(const std::vector<float>& q, std::vector<float>& out, std::int64_t before,
                            std::int64_t group) const {
    const std::int64_t head_size = page_values / (2 * page_tokens);
    const std::int64_t stride = group * head_size;
    return {q.data(),
            stride,
            out.data(),
            stride,
            0,
            static_cast<std::int64_t>(q.size()) / stride,
            group,
            head_size,
            0.5F,
            before + 1,
            1,
            {bytes.data(), bytes.data() + page_bytes / 2, head_size, element, page_tokens},
            pages.data(),
            page_bytes};
  }

  Element element;
  std::int64_t n_pages, page_values, page_bytes = 0;
  std::vector<float> values, keys_in_a_row, values_in_a_row;
  std::vector<std::byte> bytes;
  std::vector<std::int32_t> pages;
};

TEST_P(AttentionTest, CausalOverPagesEqualsTheReference) {
  const std::int64_t group = 3;
  for (const Element element : {Element::f32, Element::f16}) {
    for (const auto& [before, rows] :
         {std::pair<std::int64_t, std::int64_t>{0, 1}, {0, 17}, {15, 1}, {16, 2}, {37, 21}}) {
      for (const std::int64_t head_size : {6, 32, 80}) {
        SCOPED_TRACE(::testing::Message() << before << " + " << rows << " tokens, heads of " << head_size);
        const Paged paged(before + rows, head_size, element);
        const std::int64_t stride = group * head_size;
        const auto q = random_floats(static_cast<std::size_t>(rows * stride), 1);
        std::vector<float> out(q.size());
        attend(paged.causal(q, out, before, group));
        for (std::int64_t i = 0; i < rows * group; ++i) {
          const auto expected = kernels::reference::attend(
              q.data() + i * head_size, paged.keys_in_a_row.data(), paged.values_in_a_row.data(), head_size,
              before + i / group + 1, head_size, 0.5);
          for (std::int64_t d = 0; d < head_size; ++d) {
            ASSERT_NEAR(out[static_cast<std::size_t>(i * head_size + d)],
                        expected[static_cast<std::size_t>(d)], 2 * bound(head_size));
          }
        }
      }
    }
  }
}

/// Causal attention of a window and sinks against the reference, in FP32 pages.
void check_sight(const AttentionTest& test, std::int64_t before, std::int64_t rows,
                 const kernels::reference::Sight& sight) {
  SCOPED_TRACE(::testing::Message() << before << " + " << rows << " tokens, window " << sight.window
                                    << ", sinks " << sight.sinks);
  const std::int64_t group = 3, head_size = 22;
  Paged paged(before + rows, head_size, Element::f32);
  // Blocks that no query sees are not even read: their page is far outside.
  const std::int64_t first_seen = (sight.sinks + Paged::page_tokens - 1) / Paged::page_tokens;
  const std::int64_t unseen = (before + 1 - sight.window) / Paged::page_tokens;
  for (std::int64_t i = first_seen; i < unseen; ++i) paged.pages[static_cast<std::size_t>(i)] = 1 << 30;
  const std::int64_t stride = group * head_size;
  const auto q = random_floats(static_cast<std::size_t>(rows * stride), 1);
  std::vector<float> out(q.size());
  kernels::Attention op = paged.causal(q, out, before, group);
  op.window = sight.window;
  op.sinks = sight.sinks;
  test.attend(op);
  for (std::int64_t i = 0; i < rows * group; ++i) {
    const auto expected = kernels::reference::attend(q.data() + i * head_size, paged.keys_in_a_row.data(),
                                                     paged.values_in_a_row.data(), head_size,
                                                     before + i / group + 1, head_size, 0.5, sight);
    for (std::int64_t d = 0; d < head_size; ++d) {
      ASSERT_NEAR(out[static_cast<std::size_t>(i * head_size + d)], expected[static_cast<std::size_t>(d)],
                  2 * bound(head_size));
    }
  }
}

TEST_P(AttentionTest, AWindowHidesWhatLiesBeforeItButTheSinks) {
  for (const std::int64_t before : {0, 15, 70, 200}) {
    for (const std::int64_t rows : {1, 2, 21}) {
      for (const std::int64_t window : {1, 2, 15, 16, 17, 40, 1000}) {
        for (const std::int64_t sinks : {0, 1, 4, 16, 17, 90, 1000}) {
          check_sight(*this, before, rows, {window, sinks});
        }
      }
    }
  }
}

TEST_P(AttentionTest, AWindowOverAllChangesNothing) {
  const std::int64_t group = 3, head_size = 40, before = 37;
  for (const std::int64_t rows : {1, 21}) {
    const Paged paged(before + rows, head_size, Element::f16);
    const auto q = random_floats(static_cast<std::size_t>(rows * group * head_size), 1);
    std::vector<float> all(q.size()), windowed(q.size());
    attend(paged.causal(q, all, before, group));
    kernels::Attention op = paged.causal(q, windowed, before, group);
    op.window = before + rows;
    op.sinks = 4;
    attend(op);
    EXPECT_EQ(windowed, all);
  }
}

/// One key a thousand above the others: their weights vanish, and nothing overflows.
void check_scores_far_apart(const AttentionTest& test, std::int64_t n_rows, bool bf16) {
  const std::int64_t head_size = 8, tokens = 70;
  std::vector<float> q(static_cast<std::size_t>(8 * n_rows), 1), out(q.size());
  std::vector<float> k(static_cast<std::size_t>(tokens * head_size), -60), v(k.size(), 5);
  for (std::int64_t d = 0; d < head_size; ++d) {
    k[static_cast<std::size_t>(66 * head_size + d)] = 60;
    v[static_cast<std::size_t>(66 * head_size + d)] = -3;
  }
  test.attend({.q = q.data(),
               .q_stride = 8,
               .out = out.data(),
               .out_stride = 8,
               .first_row = 0,
               .n_rows = n_rows,
               .group = 1,
               .head_size = head_size,
               .scale = 1,
               .first_limit = tokens,
               .limit_step = 0,
               .blocks = {k.data(), v.data(), head_size, Element::f32, kernels::max_block_keys},
               .pages = nullptr,
               .page_stride = 0,
               .bf16 = bf16});
  for (const float value : out) EXPECT_EQ(value, -3);
}

TEST_P(AttentionTest, SurvivesScoresFarApart) {
  for (const std::int64_t n_rows : {1, 12}) check_scores_far_apart(*this, n_rows, false);
}

/// `values` in rows of `format`, and what these hold.
std::vector<std::byte> quantise(const Grouped& format, std::int64_t cols, std::vector<float>& values) {
  const Bytes row_bytes = layout_of(format, cols).row_bytes;
  const std::size_t n_rows = values.size() / static_cast<std::size_t>(cols);
  std::vector<std::byte> bytes(n_rows * row_bytes);
  for (std::size_t i = 0; i < n_rows; ++i) {
    const std::span<float> row =
        std::span(values).subspan(i * static_cast<std::size_t>(cols), static_cast<std::size_t>(cols));
    const std::span<std::byte> record(bytes.data() + i * row_bytes, row_bytes);
    EXPECT_TRUE(encode_row(format, row, record));
    decode_row(format, record, row);
  }
  return bytes;
}

TEST_P(AttentionTest, GroupedPagesEqualTheirValuesInFp32) {
  const std::int64_t group = 3;
  for (const Grouped& format :
       {Grouped{8, 32, DType::f16, GroupOffset::none}, Grouped{4, 32, DType::f16, GroupOffset::minimum}}) {
    for (const std::int64_t head_size : {6, 32, 80}) {
      for (const auto& [before, rows] :
           {std::pair<std::int64_t, std::int64_t>{0, 1}, {15, 1}, {16, 2}, {37, 21}}) {
        SCOPED_TRACE(::testing::Message() << describe(format) << ", " << before << " + " << rows
                                          << " tokens, heads of " << head_size);
        Paged paged(before + rows, head_size, Element::f32);
        const std::vector<std::byte> bytes = quantise(format, head_size, paged.values);
        const std::int64_t row_bytes = static_cast<std::int64_t>(layout_of(format, head_size).row_bytes);
        const kernels::GroupedRows grouped = backend::rows_of(format, head_size);
        const std::int64_t stride = group * head_size;
        const auto q = random_floats(static_cast<std::size_t>(rows * stride), 1);
        std::vector<float> out(q.size()), expected(q.size());
        kernels::Attention op = paged.causal(q, out, before, group);
        op.blocks = {bytes.data(),       bytes.data() + Paged::page_tokens * row_bytes,
                     head_size,          Element::f32,
                     Paged::page_tokens, &grouped};
        op.page_stride = 2 * Paged::page_tokens * row_bytes;
        op.window = 20;
        op.sinks = 3;
        attend(op);
        op = paged.causal(q, expected, before, group);
        op.window = 20;
        op.sinks = 3;
        op.blocks.keys = paged.values.data();
        op.blocks.values = paged.values.data() + Paged::page_tokens * head_size;
        attend(op);
        for (std::size_t i = 0; i < out.size(); ++i) ASSERT_NEAR(out[i], expected[i], bound(head_size));
      }
    }
  }
}

TEST_P(AttentionTest, ManyQueriesEqualOneByOne) {
  // The two ways through a kernel, few queries and many, give the same within rounding, whatever the split.
  const std::int64_t head_size = 40, rows = 33, group = 2, before = 90;
  const Paged paged(before + rows, head_size, Element::f16);
  const std::int64_t stride = group * head_size;
  const auto q = random_floats(static_cast<std::size_t>(rows * stride), 1);
  std::vector<float> together(q.size()), apart(q.size());
  kernels::Attention op = paged.causal(q, together, before, group);
  attend(op);
  op.out = apart.data();
  op.n_rows = 1;
  for (op.first_row = 0; op.first_row < rows; ++op.first_row) attend(op);
  for (std::size_t i = 0; i < apart.size(); ++i) ASSERT_NEAR(together[i], apart[i], 2 * bound(head_size));
}

INSTANTIATE_TEST_SUITE_P(Isa, AttentionTest, every_table(), table_name);

class Bf16AttentionTest : public AttentionTest {};

/// As BF16 has them.
std::vector<float> rounded(std::vector<float> values) {
  std::vector<std::byte> bytes(values.size() * 2);
  from_f32(DType::bf16, values, bytes);
  to_f32(DType::bf16, bytes, values);
  return values;
}

TEST_P(Bf16AttentionTest, BidirectionalEqualsTheReferenceOnRoundedOperands) {
  constexpr float log2_e = 1.44269504088896341F, ln_2 = 0.693147180559945309F;
  for (const std::int64_t tokens : {9, 64, 65, 130, 200}) {
    for (const std::int64_t head_size : {4, 13, 32, 40, 88}) {
      SCOPED_TRACE(::testing::Message() << tokens << " tokens, heads of " << head_size);
      const std::int64_t stride = head_size + 7;
      const auto size = static_cast<std::size_t>(tokens * stride);
      const auto k = rounded(random_floats(size, 2, 2)), v = rounded(random_floats(size, 3));
      auto q = random_floats(size, 1, 2);
      std::vector<float> out(size, 99);
      const float scale = 0.3F;
      attend({.q = q.data(),
              .q_stride = stride,
              .out = out.data(),
              .out_stride = stride,
              .first_row = 0,
              .n_rows = tokens,
              .group = 1,
              .head_size = head_size,
              .scale = scale,
              .first_limit = tokens,
              .limit_step = 0,
              .blocks = {k.data(), v.data(), stride, Element::f32, kernels::max_block_keys},
              .pages = nullptr,
              .page_stride = 0,
              .bf16 = true});
      // Queries are rounded as they are multiplied: so that scores are powers of two.
      for (float& value : q) value *= scale * log2_e;
      q = rounded(std::move(q));
      for (std::int64_t row = 0; row < tokens; ++row) {
        const auto expected = kernels::reference::attend(q.data() + row * stride, k.data(), v.data(), stride,
                                                         tokens, head_size, ln_2);
        for (std::int64_t d = 0; d < head_size; ++d) {
          // Weights sum to 1, each is off by 2^-9 of itself at most, and values are below 1.
          ASSERT_NEAR(out[static_cast<std::size_t>(row * stride + d)], expected[static_cast<std::size_t>(d)],
                      0.0021);
        }
        ASSERT_EQ(out[static_cast<std::size_t>(row * stride + head_size)], 99) << "wrote beyond the head";
      }
    }
  }
}

/// What attention over pages gives in BF16, beside FP32: scores below 3 are off by some 2^-8 of themselves.
void expect_near_fp32(const AttentionTest& test, kernels::Attention op, std::size_t n_out) {
  std::vector<float> out(n_out), expected(n_out);
  op.out = expected.data();
  test.attend(op);
  op.out = out.data();
  op.bf16 = true;
  test.attend(op);
  for (std::size_t i = 0; i < n_out; ++i) ASSERT_NEAR(out[i], expected[i], 0.03) << "number " << i;
}

TEST_P(Bf16AttentionTest, PagesWindowsAndSinksAreAsInFp32) {
  const std::int64_t group = 3;
  const Grouped format{8, 32, DType::f16, GroupOffset::none};
  for (const std::int64_t head_size : {6, 32, 80}) {
    for (const auto& [before, rows] : {std::pair<std::int64_t, std::int64_t>{0, 17}, {37, 21}, {200, 40}}) {
      for (const auto& [window, sinks] :
           {std::pair<std::int64_t, std::int64_t>{0, 0}, {1, 0}, {20, 3}, {90, 70}}) {
        SCOPED_TRACE(::testing::Message() << before << " + " << rows << " tokens, heads of " << head_size
                                          << ", window " << window << ", sinks " << sinks);
        Paged paged(before + rows, head_size, Element::f16);
        const auto q = random_floats(static_cast<std::size_t>(rows * group * head_size), 1,
                                     2 / std::sqrt(static_cast<float>(head_size)));
        std::vector<float> out(q.size());
        kernels::Attention op = paged.causal(q, out, before, group);
        op.window = window;
        op.sinks = sinks;
        expect_near_fp32(*this, op, out.size());

        const std::vector<std::byte> bytes = quantise(format, head_size, paged.values);
        const std::int64_t row_bytes = static_cast<std::int64_t>(layout_of(format, head_size).row_bytes);
        const kernels::GroupedRows grouped = backend::rows_of(format, head_size);
        op.blocks = {bytes.data(),       bytes.data() + Paged::page_tokens * row_bytes,
                     head_size,          Element::f32,
                     Paged::page_tokens, &grouped};
        op.page_stride = 2 * Paged::page_tokens * row_bytes;
        expect_near_fp32(*this, op, out.size());
      }
    }
  }
}

TEST_P(Bf16AttentionTest, SurvivesScoresFarApart) {
  check_scores_far_apart(*this, 12, true);
}

TEST_P(Bf16AttentionTest, WhatIsNotANumberStaysSo) {
  const std::int64_t tokens = 70, head_size = 16;
  std::vector<float> values(static_cast<std::size_t>(tokens * head_size), 0.5F), out(values.size());
  std::vector<float> keys = values;
  keys[static_cast<std::size_t>(68 * head_size)] = NAN;
  attend({.q = values.data(),
          .q_stride = head_size,
          .out = out.data(),
          .out_stride = head_size,
          .first_row = 0,
          .n_rows = tokens,
          .group = 1,
          .head_size = head_size,
          .scale = 1,
          .first_limit = tokens,
          .limit_step = 0,
          .blocks = {keys.data(), values.data(), head_size, Element::f32, kernels::max_block_keys},
          .pages = nullptr,
          .page_stride = 0,
          .bf16 = true});
  for (const float value : out) EXPECT_TRUE(std::isnan(value));
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Bf16AttentionTest);
INSTANTIATE_TEST_SUITE_P(Isa, Bf16AttentionTest, ::testing::ValuesIn(bf16_tables_to_test()), table_name);

}  // namespace
}  // namespace galago::testing
