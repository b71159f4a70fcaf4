// linear with int8 activations: equal to the reference on what the int8 values stand for, which are near x.
#include "grouped_product.h"

namespace galago::testing {
namespace {

/// Rows of x in int8, and the values that they stand for.
struct Quantised {
  Quantised(const kernels::KernelTable& kernels, const std::vector<float>& x, std::int64_t x_stride,
            std::int64_t m, std::int64_t k, std::int32_t group)
      : stride((k + 31) / 32 * 32),
        sum_length(std::min(group, 32)),
        quants(static_cast<std::size_t>(m * stride), 99),
        scales(static_cast<std::size_t>(m * stride / 32), 99),
        sums(static_cast<std::size_t>(m * stride / sum_length), 99),
        rows{quants.data(), stride, scales.data(), sums.data(), sum_length} {
    kernels.quantise(x.data(), x_stride, k, rows, 0, m);
    for (std::size_t i = 0; i < quants.size(); ++i) {
      values.push_back(static_cast<float>(quants[i]) * scales[i / 32]);
    }
  }
  std::int64_t stride, sum_length;
  std::vector<std::int8_t> quants;
  std::vector<float> scales, sums, values;
  kernels::Int8Rows rows;
};

void check(const kernels::KernelTable& kernels, const GroupedProduct& problem, std::int64_t columns_at_once) {
  const auto& [m, n, k, format, gated] = problem;
  const auto x = random_floats(static_cast<std::size_t>(m * (k + 3)), 1);
  const Quantised quantised(kernels, x, k + 3, m, k, format.group);
  // Whole numbers are summed exactly; a group's two terms, each below 32 * 17 * 3, are rounded, and their sum
  // over groups.
  const double n_groups = static_cast<double>(k) / 16 + 1;
  // x too is what the int8 values stand for: kernels may leave int8 alone where it wins nothing.
  expect_equals_reference(kernels, problem, {quantised.values.data(), quantised.stride, &quantised.rows},
                          columns_at_once, 1700 * n_groups * (n_groups + 4) * 6e-8);
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
        for (const std::int64_t k : {1, 16, 31, 64, 150, 288}) check(kernels(), {m, n, k, format}, n);
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
      std::vector<Quantised> terms;
      std::vector<kernels::Int8Rows> rows;
      std::vector<float> values;
      for (std::int32_t n = 1; n <= kernels::max_int8_terms; ++n) {
        const auto x = random_floats(static_cast<std::size_t>(m * k), static_cast<std::uint32_t>(n));
        terms.emplace_back(kernels(), x, k, m, k, format.group);
        rows.push_back(terms.back().rows);
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
        const Quantised quantised(kernels(), x, k, m, k, 64);
        const kernels::GroupedRows grouped = backend::rows_of(format, k);
        const std::vector<float> weights(static_cast<std::size_t>(k), static_cast<float>(quant));
        const auto op = linear_of({m, 1, k, format}, {x.data(), k, &quantised.rows}, grouped, bytes.data());
        expect_equals_reference(kernels(), op, {weights.data(), nullptr}, 1, {0.5});
      }
    }
  }
}

TEST_P(Int8LinearTest, ActivationsAreRoundedToTheNearest) {
  for (const std::int64_t k : {1, 31, 32, 77}) {
    const auto x = random_floats(static_cast<std::size_t>(2 * k), 4, 5);
    const Quantised quantised(kernels(), x, k, 2, k, 16);
    for (std::int64_t row = 0; row < 2; ++row) {
      for (std::int64_t i = 0; i < quantised.stride; ++i) {
        const auto at = static_cast<std::size_t>(row * quantised.stride + i);
        const float expected = i < k ? x[static_cast<std::size_t>(row * k + i)] : 0;
        EXPECT_NEAR(quantised.values[at], expected, 0.5001F * quantised.scales[at / 32]);
      }
    }
    for (std::size_t i = 0; i < quantised.sums.size(); ++i) {
      float sum = 0;
      for (std::size_t j = 16 * i; j < 16 * i + 16; ++j) sum += quantised.values[j];
      EXPECT_NEAR(quantised.sums[i], sum, 1e-4);
    }
  }
}

TEST_P(Int8LinearTest, WhatIsNotFiniteStaysSo) {
  for (const float bad : {INFINITY, -INFINITY, NAN}) {
    std::vector<float> x(32, 1);
    x[7] = bad;
    const Quantised quantised(kernels(), x, 32, 1, 32, 32);
    EXPECT_FALSE(std::isfinite(quantised.scales[0]));
    EXPECT_FALSE(std::isfinite(quantised.sums[0]));
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, Int8LinearTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
