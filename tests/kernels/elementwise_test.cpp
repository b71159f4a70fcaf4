// Rotation and conversions against the reference.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tables.h"
#include "tensor/convert.h"

namespace galago::testing {
namespace {

using kernels::Element;

class ElementwiseTest : public KernelTest {};

TEST_P(ElementwiseTest, RopeTurnsPairsHalfAHeadApart) {
  for (const std::int64_t head_size : {2, 6, 64, 128}) {
    const std::int64_t half = head_size / 2;
    const std::int64_t position = 1234;
    std::vector<float> frequencies(static_cast<std::size_t>(half));
    std::vector<float> table(static_cast<std::size_t>(head_size));
    for (std::int64_t i = 0; i < half; ++i) {
      const auto at = static_cast<std::size_t>(i);
      frequencies[at] = std::pow(10000.0F, -2.0F * static_cast<float>(i) / static_cast<float>(head_size));
      table[at] = std::cos(static_cast<float>(position) * frequencies[at]);
      table[at + static_cast<std::size_t>(half)] = std::sin(static_cast<float>(position) * frequencies[at]);
    }
    auto x = random_floats(static_cast<std::size_t>(head_size), 7);
    const auto expected = kernels::reference::rope(x.data(), frequencies.data(), position, head_size);
    kernels().rope_head(x.data(), table.data(), head_size);
    for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(x[i], expected[i], 4e-7);
  }
}

TEST_P(ElementwiseTest, NarrowingAndWideningEqualTheScalarConversions) {
  auto values = random_floats(1003, 9, 3);
  for (const float special : {0.0F, -0.0F, 65504.0F, 65519.0F, 65520.0F, 1e-8F, 6.1e-5F, 5.96e-8F, 2.98e-8F,
                              1e30F, -1e-6F, std::numeric_limits<float>::infinity()}) {
    values.push_back(special);
  }
  for (const Element element : {Element::f16, Element::bf16}) {
    std::vector<std::uint16_t> stored(values.size());
    std::vector<float> back(values.size());
    kernels().narrow(values.data(), stored.data(), element, static_cast<std::int64_t>(values.size()));
    kernels().widen(stored.data(), element, back.data(), static_cast<std::int64_t>(values.size()));
    for (std::size_t i = 0; i < values.size(); ++i) {
      const std::uint16_t expected = element == Element::f16 ? f32_to_f16(values[i]) : f32_to_bf16(values[i]);
      ASSERT_EQ(stored[i], expected) << values[i];
      ASSERT_EQ(back[i], element == Element::f16 ? f16_to_f32(expected) : bf16_to_f32(expected)) << values[i];
    }
  }
}

TEST_P(ElementwiseTest, AddsRows) {
  const auto a = random_floats(19, 1);
  const auto b = random_floats(19, 2);
  std::vector<float> sum(19);
  kernels().add(a.data(), b.data(), sum.data(), 19);
  for (std::size_t i = 0; i < sum.size(); ++i) EXPECT_EQ(sum[i], a[i] + b[i]);
}

TEST_P(ElementwiseTest, GatesRows) {
  for (const std::size_t n : {1U, 7U, 16U, 33U}) {
    const auto gate = random_floats(n, 1, 4);
    const auto up = random_floats(n, 2);
    std::vector<float> out(n + 1, 99);
    kernels().gate(gate.data(), up.data(), kernels::Activation::silu, out.data(),
                   static_cast<std::int64_t>(n));
    for (std::size_t i = 0; i < n; ++i) {
      EXPECT_NEAR(out[i], kernels::reference::silu(gate[i]) * up[i], 2e-6) << n << " " << i;
    }
    EXPECT_EQ(out[n], 99) << "wrote beyond the row";
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, ElementwiseTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
