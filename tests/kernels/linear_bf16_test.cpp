// linear with x in BF16: equal to the reference on what BF16 makes of x and of the weights.
#include <cmath>

#include "grouped_product.h"
#include "support/random.h"
#include "tensor/convert.h"

namespace galago::testing {
namespace {

using kernels::Element;

/// As BF16 has them.
std::vector<float> rounded(std::vector<float> values) {
  std::vector<std::byte> bytes(values.size() * 2);
  from_f32(DType::bf16, values, bytes);
  to_f32(DType::bf16, bytes, values);
  return values;
}

/// Numbers in a 16-bit type, and what they are in BF16.
struct Halves {
  Halves(std::size_t n, DType dtype, std::uint32_t seed) : bits(n), values(random_floats(n, seed)) {
    const auto bytes = std::as_writable_bytes(std::span(bits));
    from_f32(dtype, values, bytes);
    to_f32(dtype, bytes, values);
    values = rounded(std::move(values));
  }
  std::vector<std::uint16_t> bits;
  std::vector<float> values;
};

/// x in panels of BF16, as the kernels make them of `values`, which BF16 holds.
struct Panels {
  Panels(const kernels::KernelTable& kernels, const std::vector<float>& values, std::int64_t m,
         std::int64_t k)
      : n_pairs((k + 15) / 16 * 8),
        n_panels((m + kernels::bf16_panel - 1) / kernels::bf16_panel),
        pairs(static_cast<std::size_t>(n_panels * n_pairs * kernels::bf16_panel), 0xffffffffU) {
    kernels.round_to_bf16(values.data(), k, m, k, rows(), 0, n_panels);
  }
  kernels::Bf16Rows rows() { return {pairs.data(), n_pairs}; }

  std::int64_t n_pairs, n_panels;
  std::vector<std::uint32_t> pairs;
};

struct Problem {
  std::int64_t m, n, k;
  Element element;
  bool gated = false;
};

// Terms are below 1, so k of them summed in any order are off by at most k * k * 2^-24.
double bound(std::int64_t k) {
  return static_cast<double>(k * k) * 6e-8 * 0.25 + 1e-6;
}

void check(const kernels::KernelTable& kernels, const Problem& problem, std::int64_t columns_at_once) {
  const auto& [m, n, k, element, gated] = problem;
  SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " element " << int(element));
  const DType dtype = element == Element::f16 ? DType::f16 : DType::bf16;
  const Halves x(static_cast<std::size_t>(m * k), DType::bf16, 1);
  const Halves w(static_cast<std::size_t>(n * k), dtype, 2);
  const Halves up(static_cast<std::size_t>(n * k), dtype, 3);
  Panels panels(kernels, x.values, m, k);
  const kernels::Bf16Rows rows = panels.rows();
  const kernels::Linear op{.x = x.values.data(),
                           .x_stride = k,
                           .w = w.bits.data(),
                           .up = gated ? up.bits.data() : nullptr,
                           .element = element,
                           .m = m,
                           .n = n,
                           .k = k,
                           .bias = nullptr,
                           .activation = kernels::Activation::none,
                           .residual = nullptr,
                           .residual_stride = 0,
                           .y = nullptr,
                           .y_stride = 0,
                           .bf16 = &rows};
  expect_equals_reference(kernels, op, {w.values.data(), up.values.data()}, columns_at_once,
                          {bound(k), 1e-6});
}

void check(const kernels::KernelTable& kernels, const GroupedProduct& problem, std::int64_t columns_at_once) {
  const auto& [m, n, k, format, gated] = problem;
  SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " " << describe(format));
  const Halves x(static_cast<std::size_t>(m * k), DType::bf16, 1);
  StoredRows w(format, n, k, 2);
  StoredRows up(format, n, k, 3);
  w.values = rounded(std::move(w.values));
  up.values = rounded(std::move(up.values));
  Panels panels(kernels, x.values, m, k);
  const kernels::Bf16Rows rows = panels.rows();
  const kernels::GroupedRows grouped = backend::rows_of(format, k);
  kernels::Linear op = linear_of(problem, {x.values.data(), k}, grouped, w.bytes.data());
  op.bf16 = &rows;
  if (gated) op.up = up.bytes.data();
  // Weights whose scaling is rounded otherwise than the reference's may round to the next number of BF16.
  expect_equals_reference(kernels, op, {w.values.data(), up.values.data()}, columns_at_once,
                          {bound(k) + 0.004 * std::sqrt(static_cast<double>(k)) / 16});
}

class Bf16LinearTest : public KernelTest {};

constexpr Element stored[] = {Element::f16, Element::bf16};

TEST_P(Bf16LinearTest, EqualsTheReferenceForOddShapes) {
  for (const Element element : stored) {
    for (const std::int64_t m : {4, 5, 11, 12, 29}) {
      for (const std::int64_t n : {1, 17, 32, 71}) {
        for (const std::int64_t k : {1, 2, 15, 16, 33, 130}) check(kernels(), Problem{m, n, k, element}, n);
      }
    }
  }
}

TEST_P(Bf16LinearTest, CrossesItsOwnBlockBorders) {
  for (const Element element : stored) {
    check(kernels(), Problem{515, 33, 5, element}, 33);
    check(kernels(), Problem{5, 65, 1031, element}, 65);
    check(kernels(), Problem{33, 300, 270, element}, 300);
  }
}

TEST_P(Bf16LinearTest, GatesTheActivatedHalfWithTheOther) {
  for (const Element element : stored) check(kernels(), Problem{11, 45, 33, element, true}, 45);
  check(kernels(), Problem{40, 150, 33, Element::f16, true}, 150);
  check(kernels(), GroupedProduct{11, 45, 70, {4, 32, DType::f16, none}, true}, 45);
}

TEST_P(Bf16LinearTest, TakesEveryGroupedFormat) {
  for (const Grouped& format : every_format()) {
    for (const std::int64_t m : {4, 33}) {
      for (const std::int64_t k : {1, 16, 31, 64, 150})
        check(kernels(), GroupedProduct{m, 37, k, format}, 37);
    }
  }
  check(kernels(), GroupedProduct{5, 65, 1030, {4, 16, DType::f16, minimum}}, 65);
}

TEST_P(Bf16LinearTest, PanelsAreFilledWithZeros) {
  const std::int64_t m = 35, k = 19;
  Panels panels(kernels(), std::vector<float>(static_cast<std::size_t>(m * k), 1), m, k);
  for (std::int64_t panel = 0; panel < panels.n_panels; ++panel) {
    for (std::int64_t pair = 0; pair < panels.n_pairs; ++pair) {
      for (std::int64_t i = 0; i < kernels::bf16_panel; ++i) {
        const bool in_rows = panel * kernels::bf16_panel + i < m;
        const std::uint32_t one = 0x3f80U;
        const std::uint32_t low = in_rows && 2 * pair < k ? one : 0,
                            high = in_rows && 2 * pair + 1 < k ? one : 0;
        const auto at = static_cast<std::size_t>((panel * panels.n_pairs + pair) * kernels::bf16_panel + i);
        ASSERT_EQ(panels.pairs[at], high << 16 | low) << panel << " " << pair << " " << i;
      }
    }
  }
}

TEST_P(Bf16LinearTest, ComputesJustTheColumnsThatAreAskedFor) {
  check(kernels(), Problem{6, 100, 20, Element::f16}, kernels::linear_column_grain);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Bf16LinearTest);
INSTANTIATE_TEST_SUITE_P(Isa, Bf16LinearTest, ::testing::ValuesIn(bf16_tables_to_test()), table_name);

}  // namespace
}  // namespace galago::testing
