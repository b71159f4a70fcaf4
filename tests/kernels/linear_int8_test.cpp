// linear with int8 activations: equal to the reference on what the int8 values stand for, which are near x.
#include "grouped_product.h"

namespace galago::testing {
namespace {

/// Where element i of a row of k lies among its quants.
std::int64_t place_of(std::int64_t i, std::int64_t k, bool paired) {
  if (!paired || i >= k / 256 * 256) return i;
  const std::int64_t chunk = i / 32 % 2, half = i / 16 % 2;
  return i / 64 * 64 + half * 32 + chunk * 16 + i % 16;
}

/// Rows of x in int8 for weights of `format`, and the values that they stand for.
struct Quantised {
  Quantised(const kernels::KernelTable& kernels, const std::vector<float>& x, std::int64_t x_stride,
            std::int64_t m, std::int64_t k, const Grouped& format, std::int32_t n_terms = 1)
      : stride((k + 31) / 32 * 32), sum_length(std::min<std::int64_t>(format.group, 32)) {
    const bool paired =
        m <= kernels::linear_few_rows && kernels::reads_in_eights(backend::rows_of(format, k));
    const auto n = static_cast<std::size_t>(m * stride);
    terms.resize(static_cast<std::size_t>(n_terms), {std::vector<std::int8_t>(n, 99), {}, {}});
    for (Term& term : terms) {
      term.scales.resize(n / 32, 99);
      term.sums.resize(n / static_cast<std::size_t>(sum_length), 99);
      rows.push_back({term.quants.data(), stride, term.scales.data(), term.sums.data(), sum_length, paired});
    }
    kernels.quantise(x.data(), x_stride, k, rows.data(), n_terms, 0, m);
    values.resize(n);
    for (const Term& term : terms) {
      for (std::size_t i = 0; i < n; ++i) {
        const auto row = static_cast<std::int64_t>(i) / stride,
                   column = static_cast<std::int64_t>(i) % stride;
        const auto at = static_cast<std::size_t>(row * stride + place_of(column, k, paired));
        values[i] += static_cast<float>(term.quants[at]) * term.scales[i / 32];
      }
    }
  }

  struct Term {
    std::vector<std::int8_t> quants;
    std::vector<float> scales, sums;
  };
  std::int64_t stride, sum_length;
  std::vector<Term> terms;
  std::vector<kernels::Int8Rows> rows;
  std::vector<float> values;
};

void check(const kernels::KernelTable& kernels, const GroupedProduct& problem, std::int64_t columns_at_once) {
  const auto& [m, n, k, format, gated] = problem;
  const auto x = random_floats(static_cast<std::size_t>(m * (k + 3)), 1);
  const Quantised quantised(kernels, x, k + 3, m, k, format);
  // Whole numbers are summed exactly; a group's two terms, each below 32 * 17 * 3, are rounded, and their sum
  // over groups.
  const double n_groups = static_cast<double>(k) / 16 + 1;
  // x too is what the int8 values stand for: kernels may leave int8 alone where it wins nothing.
  expect_equals_reference(kernels, problem,
                          {quantised.values.data(), quantised.stride, quantised.rows.data()}, columns_at_once,
                          1700 * n_groups * (n_groups + 4) * 6e-8);
}

std::vector<Grouped> multiplied_formats() {
  std::vector<Grouped> formats;
  for (const Grouped& format : every_format()) {
    if (kernels::multiplies_int8(backend::rows_of(format, 32))) formats.push_back(format);
  }
  return formats;
}

class Int8LinearTest : public KernelTest {};

TEST_P(Int8LinearTest, EqualsTheReferenceInEveryFormat) {
  ASSERT_EQ(multiplied_formats().size(), 24U);
  for (const Grouped& format : multiplied_formats()) {
    for (const std::int64_t m : {1, 3, 4, 7}) {
      for (const std::int64_t n : {1, 37}) {
        for (const std::int64_t k : {1, 16, 31, 64, 150, 288, 600}) check(kernels(), {m, n, k, format}, n);
      }
    }
  }
}

TEST_P(Int8LinearTest, CrossesItsOwnBlockBorders) {
  for (const std::uint8_t bits : {4, 8}) {
    for (const std::int32_t group : {16, 32, 128}) {
      const Grouped format{bits, group, DType::f16, minimum};
      check(kernels(), {515, 33, 5, format}, 33);
      check(kernels(), {5, 65, 1030, format}, 65);
      check(kernels(), {2, 65, 1030, format}, 65);
      check(kernels(), {29, 40, 70, format}, 40);
    }
  }
  check(kernels(), {70, 33, 6000, {4, 32, DType::f16, none}}, 33);  // rows of x beyond the second-level cache
}

TEST_P(Int8LinearTest, GatesTheActivatedHalfWithTheOther) {
  for (const std::int64_t m : {1, 2, 11}) {
    check(kernels(), {m, 45, 33, {4, 32, DType::f16, none}, true}, 45);
    check(kernels(), {m, 45, 70, {8, 64, DType::f32, minimum}, true}, 45);
  }
}

TEST_P(Int8LinearTest, ComputesJustTheColumnsThatAreAskedFor) {
  for (const std::int64_t m : {1, 6}) {
    check(kernels(), {m, 100, 40, {4, 32, DType::f16, zero_point}}, kernels::linear_column_grain);
  }
}

TEST_P(Int8LinearTest, AddsAllTermsOfX) {
  for (const Grouped& format : {Grouped{4, 32, DType::f16, none}, Grouped{4, 128, DType::f16, zero_point},
                                Grouped{4, 16, DType::f16, minimum}, Grouped{8, 64, DType::f32, minimum}}) {
    for (const std::int64_t m : {1, 3, 6}) {
      const std::int64_t k = 310;
      std::vector<Quantised> terms;  // of one size, so that a missing one shows
      std::vector<kernels::Int8Rows> rows;
      std::vector<float> values;
      for (std::int32_t n = 1; n <= kernels::max_int8_terms; ++n) {
        const auto x = random_floats(static_cast<std::size_t>(m * k), static_cast<std::uint32_t>(n));
        terms.emplace_back(kernels(), x, k, m, k, format);
        rows.push_back(terms.back().rows[0]);
        values.resize(terms.back().values.size());
        for (std::size_t i = 0; i < values.size(); ++i) values[i] += terms.back().values[i];
        expect_equals_reference(kernels(), {m, 37, k, format},
                                {values.data(), terms[0].stride, rows.data(), n}, 37,
                                1700 * 20 * 24 * n * 6e-8);
      }
    }
  }
}

TEST_P(Int8LinearTest, LargestQuantsDoNotOverflow) {
  // All quants at the end of their range and all of x at one magnitude: the sums in 16 bits are the largest
  // there are.
  const std::int64_t k = 320;
  for (const std::uint8_t bits : {4, 8}) {
    for (const int quant : {bits == 4 ? 7 : 127, bits == 4 ? -8 : -128}) {
      for (const std::int64_t m : {1, 4}) {
        const Grouped format{bits, 64, DType::f16, none};
        std::vector<std::byte> bytes(static_cast<std::size_t>(layout_of(format, k).row_bytes));
        GroupedRow row(format, k, bytes);
        for (std::int64_t i = 0; i < k; ++i) row.put_quant(i, quant);
        for (std::int64_t i = 0; i < k / 64; ++i) row.put_scale(i, 1);
        const std::vector<float> x(static_cast<std::size_t>(m * k), -127);
        const Quantised quantised(kernels(), x, k, m, k, format);
        const kernels::GroupedRows grouped = backend::rows_of(format, k);
        const std::vector<float> weights(static_cast<std::size_t>(k), static_cast<float>(quant));
        const auto op =
            linear_of({m, 1, k, format}, {x.data(), k, quantised.rows.data()}, grouped, bytes.data());
        expect_equals_reference(kernels(), op, {weights.data(), nullptr}, 1, {0.5});
      }
    }
  }
}

TEST_P(Int8LinearTest, ActivationsAreRoundedToTheNearest) {
  for (const std::int64_t k : {1, 31, 32, 77, 300}) {
    for (const std::int32_t group : {16, 32}) {
      const auto x = random_floats(static_cast<std::size_t>(2 * k), 4, 5);
      const Quantised quantised(kernels(), x, k, 2, k, {4, group, DType::f16, none});
      const auto& [quants, scales, sums] = quantised.terms[0];
      for (std::int64_t row = 0; row < 2; ++row) {
        for (std::int64_t i = 0; i < quantised.stride; ++i) {
          const auto at = static_cast<std::size_t>(row * quantised.stride + i);
          const float expected = i < k ? x[static_cast<std::size_t>(row * k + i)] : 0;
          EXPECT_NEAR(quantised.values[at], expected, 0.5001F * scales[at / 32]);
        }
      }
      const auto sum_length = static_cast<std::size_t>(quantised.sum_length);
      for (std::size_t i = 0; i < sums.size(); ++i) {
        float sum = 0;
        for (std::size_t j = 0; j < sum_length; ++j) sum += quantised.values[sum_length * i + j];
        EXPECT_NEAR(sums[i], sum, 1e-4);
      }
    }
  }
}

TEST_P(Int8LinearTest, EveryTermRoundsWhatThoseBeforeHaveLeft) {
  const std::int64_t k = 300;
  const auto x = random_floats(static_cast<std::size_t>(k), 4, 5);
  float bound = 0.51F * 5 / 127;
  for (std::int32_t n = 1; n <= kernels::max_int8_terms; ++n, bound /= 254) {
    const Quantised quantised(kernels(), x, k, 1, k, {4, 32, DType::f16, none}, n);
    float largest = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      largest = std::max(largest, std::abs(quantised.values[i] - x[i]));
    }
    EXPECT_LE(largest, bound + 1e-6F) << n;
    EXPECT_GE(largest, bound / 20) << n << ": no rounding is that good";
  }
}

TEST_P(Int8LinearTest, WhatIsNotFiniteStaysSo) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> x(32, 1);
    x[7] = bad;
    const Quantised quantised(kernels(), x, 32, 1, 32, {4, 32, DType::f16, none}, 2);
    for (const Quantised::Term& term : quantised.terms) {
      EXPECT_FALSE(std::isfinite(term.scales[0]));
      EXPECT_FALSE(std::isfinite(term.sums[0]));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Int8LinearTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
