// linear with x in BF16: equal to the reference on what BF16 makes of x and of the weights.
#include <algorithm>

#include "product_check.h"
#include "support/random.h"
#include "tensor/convert.h"

namespace galago::testing {
namespace {

using kernels::Element;

/// Numbers in a 16-bit type, and what they are in BF16.
struct Halves {
  Halves(std::size_t n, DType dtype, std::uint32_t seed) : bits(n), values(random_floats(n, seed)) {
    const auto bytes = std::as_writable_bytes(std::span(bits));
    from_f32(dtype, values, bytes);
    to_f32(dtype, bytes, values);
    std::vector<std::uint16_t> rounded(n);
    from_f32(DType::bf16, values, std::as_writable_bytes(std::span(rounded)));
    to_f32(DType::bf16, std::as_bytes(std::span(rounded)), values);
  }
  std::vector<std::uint16_t> bits;
  std::vector<float> values;
};

struct Problem {
  std::int64_t m, n, k;
  Element element;
  bool gated = false;
};

void check(const kernels::KernelTable& kernels, const Problem& problem, std::int64_t columns_at_once) {
  const auto& [m, n, k, element, gated] = problem;
  SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " element " << int(element));
  const DType dtype = element == Element::f16 ? DType::f16 : DType::bf16;
  const std::int64_t stride = k + k % 2;
  Halves x(static_cast<std::size_t>(m * stride), DType::bf16, 1);
  for (std::int64_t row = 0; row < m && stride > k; ++row) {
    x.bits[static_cast<std::size_t>(row * stride + k)] = 0;
    x.values[static_cast<std::size_t>(row * stride + k)] = 0;
  }
  const Halves w(static_cast<std::size_t>(n * k), dtype, 2);
  const Halves up(static_cast<std::size_t>(n * k), dtype, 3);
  const kernels::Bf16Rows rows{x.bits.data(), stride};
  const kernels::Linear op{.x = x.values.data(),
                           .x_stride = stride,
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
  // Terms are below 1, so k of them summed in any order are off by at most k * k * 2^-24.
  expect_equals_reference(kernels, op, {w.values.data(), up.values.data()}, columns_at_once,
                          {static_cast<double>(k * k) * 6e-8 * 0.25 + 1e-6, 1e-6});
}

class Bf16LinearTest : public KernelTest {};

std::vector<const kernels::KernelTable*> multiplying_tables() {
  auto tables = tables_to_test();
  tables.erase(std::remove_if(tables.begin(), tables.end(),
                              [](const kernels::KernelTable* table) { return !table->multiplies_bf16; }),
               tables.end());
  return tables;
}

constexpr Element stored[] = {Element::f16, Element::bf16};

TEST_P(Bf16LinearTest, EqualsTheReferenceForOddShapes) {
  for (const Element element : stored) {
    for (const std::int64_t m : {4, 5, 11, 12, 29}) {
      for (const std::int64_t n : {1, 17, 32, 71}) {
        for (const std::int64_t k : {1, 2, 15, 16, 33, 130}) check(kernels(), {m, n, k, element}, n);
      }
    }
  }
}

TEST_P(Bf16LinearTest, CrossesItsOwnBlockBorders) {
  for (const Element element : stored) {
    check(kernels(), {515, 33, 5, element}, 33);
    check(kernels(), {5, 65, 1031, element}, 65);
  }
}

TEST_P(Bf16LinearTest, GatesTheActivatedHalfWithTheOther) {
  for (const Element element : stored) check(kernels(), {11, 45, 33, element, true}, 45);
}

TEST_P(Bf16LinearTest, ComputesJustTheColumnsThatAreAskedFor) {
  check(kernels(), {6, 100, 20, Element::f16}, kernels::linear_column_grain);
}

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(Bf16LinearTest);
INSTANTIATE_TEST_SUITE_P(Isa, Bf16LinearTest, ::testing::ValuesIn(multiplying_tables()), table_name);

}  // namespace
}  // namespace galago::testing
