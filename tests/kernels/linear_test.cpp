// linear against the reference: odd, tail and misaligned shapes, every storage type, every epilogue.
#include <cmath>
#include <cstring>

#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tables.h"
#include "tensor/convert.h"

namespace galago::testing {
namespace {

using kernels::Activation;
using kernels::Element;

DType dtype_of(Element element) {
  return element == Element::f32 ? DType::f32 : element == Element::f16 ? DType::f16 : DType::bf16;
}

/// Weights in their storage type, at an odd address of that type, and the values that they stand for.
struct StoredWeights {
  StoredWeights(std::size_t n, Element element, std::uint32_t seed)
      : bytes((n + 1) * size_of(dtype_of(element))), values(random_floats(n, seed)) {
    const DType dtype = dtype_of(element);
    const std::span<std::byte> stored(bytes.data() + size_of(dtype), n * size_of(dtype));
    from_f32(dtype, values, stored);
    to_f32(dtype, stored, values);
    data = stored.data();
  }
  std::vector<std::byte> bytes;
  std::vector<float> values;
  const void* data;
};

struct Problem {
  std::int64_t m, n, k;
  Element element = Element::f32;
  Activation activation = Activation::none;
  bool bias = false, residual = false, gated = false;
};

double activate(Activation activation, double x) {
  switch (activation) {
    case Activation::none:
      return x;
    case Activation::gelu:
      return kernels::reference::gelu(x);
    case Activation::quick_gelu:
      return kernels::reference::quick_gelu(x);
    case Activation::silu:
      return kernels::reference::silu(x);
  }
  return x;
}

void check(const kernels::KernelTable& kernels, const Problem& problem, std::int64_t columns_at_once) {
  const auto [m, n, k, element, activation, bias, residual, gated] = problem;
  SCOPED_TRACE(::testing::Message() << "m " << m << " n " << n << " k " << k << " element " << int(element));
  const std::int64_t x_stride = k + 3;
  const std::int64_t y_stride = n + 5;
  const auto x = random_floats(static_cast<std::size_t>(m * x_stride), 1);
  const StoredWeights w(static_cast<std::size_t>(n * k), element, 2);
  const StoredWeights up(static_cast<std::size_t>(n * k), element, 3);
  const auto biases = random_floats(static_cast<std::size_t>(n), 4);
  std::vector<float> y = random_floats(static_cast<std::size_t>(m * y_stride), 5);
  const std::vector<float> before = y;
  std::vector<float> scratch(kernels::linear_scratch_floats(false));

  const kernels::Linear op{x.data(),
                           x_stride,
                           w.data,
                           gated ? up.data : nullptr,
                           element,
                           m,
                           n,
                           k,
                           bias ? biases.data() : nullptr,
                           activation,
                           residual ? y.data() : nullptr,
                           y_stride,
                           y.data(),
                           y_stride};
  for (std::int64_t first = 0; first < n; first += columns_at_once) {
    kernels.linear(op, first, std::min(columns_at_once, n - first), scratch.data());
  }
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t j = 0; j < n; ++j) {
      const float* row = x.data() + i * x_stride;
      double expected = kernels::reference::dot(row, w.values.data() + j * k, k);
      if (bias) expected += biases[static_cast<std::size_t>(j)];
      expected = activate(activation, expected);
      // Terms are below 1, so k of them summed in any order are off by at most k * k * 2^-24; the activations
      // add 2e-7.
      double bound = static_cast<double>(k * k) * 6e-8 * 0.25 + 1e-6;
      if (gated) {
        const double other = kernels::reference::dot(row, up.values.data() + j * k, k);
        bound *= 1 + std::abs(expected) + std::abs(other);
        expected *= other;
      }
      const auto at = static_cast<std::size_t>(i * y_stride + j);
      if (residual) expected += before[at];
      bound += std::abs(expected) * 1e-6;
      ASSERT_NEAR(y[at], expected, bound) << "row " << i << " column " << j;
    }
    for (std::int64_t j = n; j < y_stride; ++j) {
      const auto at = static_cast<std::size_t>(i * y_stride + j);
      ASSERT_EQ(y[at], before[at]) << "wrote beyond the columns";
    }
  }
}

class LinearTest : public KernelTest {};

TEST_P(LinearTest, EqualsTheReferenceForOddShapes) {
  for (const std::int64_t m : {1, 2, 3, 4, 5, 7, 13, 29}) {
    for (const std::int64_t n : {1, 3, 17, 32, 71}) {
      for (const std::int64_t k : {1, 7, 16, 33, 130}) check(kernels(), {m, n, k}, n);
    }
  }
}

TEST_P(LinearTest, CrossesItsOwnBlockBorders) {
  check(kernels(), {515, 33, 5}, 33);
  check(kernels(), {5, 65, 1030}, 65);
  check(kernels(), {2, 65, 1030}, 65);
}

TEST_P(LinearTest, ReadsEveryStorageType) {
  for (const Element element : {Element::f16, Element::bf16}) {
    for (const std::int64_t m : {1, 3, 6, 23}) {
      check(kernels(), {m, 37, 75, element}, 37);
      check(kernels(), {m, 64, 64, element}, 64);
    }
  }
}

TEST_P(LinearTest, FinishesWithBiasActivationAndResidual) {
  for (const Activation activation : {Activation::gelu, Activation::quick_gelu, Activation::silu}) {
    for (const std::int64_t m : {1, 9}) {
      check(kernels(), {m, 35, 19, Element::f32, activation, true, false}, 35);
      check(kernels(), {m, 35, 19, Element::f16, activation, true, true}, 35);
    }
  }
}

TEST_P(LinearTest, GatesTheActivatedHalfWithTheOther) {
  for (const std::int64_t m : {1, 2, 11}) {
    check(kernels(), {m, 45, 33, Element::f32, Activation::silu, false, false, true}, 45);
    check(kernels(), {m, 45, 33, Element::bf16, Activation::silu, false, false, true}, 45);
  }
}

TEST_P(LinearTest, ComputesJustTheColumnsThatAreAskedFor) {
  for (const std::int64_t m : {1, 6}) check(kernels(), {m, 100, 20}, kernels::linear_column_grain);
}

TEST_P(LinearTest, GivesTheSameBitsHoweverTheColumnsAreSplit) {
  const std::int64_t m = 7, n = 96, k = 300;
  const auto x = random_floats(static_cast<std::size_t>(m * k), 1);
  const auto w = random_floats(static_cast<std::size_t>(n * k), 2);
  std::vector<float> whole(static_cast<std::size_t>(m * n));
  std::vector<float> parts(whole.size());
  std::vector<float> scratch(kernels::linear_scratch_floats(false));
  kernels::Linear op{x.data(), k, w.data(),     nullptr, Element::f32, m, n, k, nullptr, Activation::none,
                     nullptr,  0, whole.data(), n};
  kernels().linear(op, 0, n, scratch.data());
  op.y = parts.data();
  for (std::int64_t first = 0; first < n; first += 32) kernels().linear(op, first, 32, scratch.data());
  EXPECT_EQ(std::memcmp(whole.data(), parts.data(), whole.size() * sizeof(float)), 0);
}

INSTANTIATE_TEST_SUITE_P(Isa, LinearTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
