// Norms against the reference, over odd widths and in place.
#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tables.h"

namespace galago::testing {
namespace {

class NormTest : public KernelTest {};

constexpr float epsilon = 1e-5F;

TEST_P(NormTest, LayerNormEqualsTheReference) {
  for (const std::int64_t cols : {1, 3, 8, 17, 64, 1025}) {
    const auto x = random_floats(static_cast<std::size_t>(3 * cols), 1, 4);
    const auto weight = random_floats(static_cast<std::size_t>(cols), 2);
    const auto bias = random_floats(static_cast<std::size_t>(cols), 3);
    std::vector<float> y = x;
    kernels().layer_norm({y.data(), cols, weight.data(), bias.data(), epsilon, cols, y.data(), cols}, 1, 2);
    for (std::int64_t i = 0; i < cols; ++i)
      ASSERT_EQ(y[static_cast<std::size_t>(i)], x[static_cast<std::size_t>(i)]);
    for (std::int64_t row = 1; row < 3; ++row) {
      const auto expected =
          kernels::reference::layer_norm(x.data() + row * cols, weight.data(), bias.data(), epsilon, cols);
      for (std::int64_t i = 0; i < cols; ++i) {
        ASSERT_NEAR(y[static_cast<std::size_t>(row * cols + i)], expected[static_cast<std::size_t>(i)], 3e-6)
            << cols << " wide, column " << i;
      }
    }
  }
}

TEST_P(NormTest, RmsNormEqualsTheReference) {
  for (const std::int64_t cols : {1, 5, 16, 129, 4096}) {
    const auto x = random_floats(static_cast<std::size_t>(cols), 1, 4);
    const auto weight = random_floats(static_cast<std::size_t>(cols), 2);
    std::vector<float> y(x.size());
    kernels().rms_norm({x.data(), cols, weight.data(), nullptr, epsilon, cols, y.data(), cols}, 0, 1);
    const auto expected = kernels::reference::rms_norm(x.data(), weight.data(), epsilon, cols);
    for (std::size_t i = 0; i < y.size(); ++i)
      ASSERT_NEAR(y[i], expected[i], 2e-6) << cols << " wide, column " << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, NormTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
