// linear with grouped weights against the reference: every format, ragged shapes, gates and splits.
#include "grouped_product.h"

namespace galago::testing {
namespace {

void check(const kernels::KernelTable& kernels, const GroupedProduct& problem, std::int64_t columns_at_once) {
  const auto& [m, n, k, format, gated] = problem;
  const auto x = random_floats(static_cast<std::size_t>(m * (k + 3)), 1);
  // Terms are below 3, so k of them in any order are off by at most 3 k k 2^-24, and their scaling adds to
  // each.
  expect_equals_reference(kernels, problem, {x.data(), k + 3}, columns_at_once,
                          static_cast<double>(k * k + 8 * k) * 6e-8 + 1e-6);
}

class GroupedLinearTest : public KernelTest {};

TEST_P(GroupedLinearTest, EqualsTheReferenceInEveryFormat) {
  for (const Grouped& format : every_format()) {
    for (const std::int64_t m : {1, 3, 4, 7}) {
      for (const std::int64_t n : {1, 37}) {
        for (const std::int64_t k : {1, 16, 31, 64, 150}) check(kernels(), {m, n, k, format}, n);
      }
    }
  }
}

TEST_P(GroupedLinearTest, CrossesItsOwnBlockBorders) {
  for (const std::int32_t group : {16, 128}) {
    const Grouped format{4, group, DType::f16, minimum};
    check(kernels(), {515, 33, 5, format}, 33);
    check(kernels(), {5, 65, 1030, format}, 65);
    check(kernels(), {2, 65, 1030, format}, 65);
  }
}

TEST_P(GroupedLinearTest, GatesTheActivatedHalfWithTheOther) {
  for (const std::int64_t m : {1, 2, 11}) {
    check(kernels(), {m, 45, 33, {4, 32, DType::f16, none}, true}, 45);
    check(kernels(), {m, 45, 70, {8, 64, DType::f32, minimum}, true}, 45);
  }
}

TEST_P(GroupedLinearTest, ComputesJustTheColumnsThatAreAskedFor) {
  for (const std::int64_t m : {1, 6}) {
    check(kernels(), {m, 100, 40, {4, 32, DType::f16, zero_point}}, kernels::linear_column_grain);
  }
}

TEST_P(GroupedLinearTest, DecodesRowsToTheirVeryValues) {
  for (const Grouped& format : every_format()) {
    for (const std::int64_t k : {1, 15, 17, 32, 100, 129}) {
      const StoredRows w(format, 2, k, 5);
      std::vector<float> row(static_cast<std::size_t>(k) + 1, 7.0F);
      kernels().decode(backend::rows_of(format, k), w.bytes.data() + w.row_bytes, row.data(), k);
      for (std::int64_t i = 0; i < k; ++i) {
        ASSERT_EQ(row[static_cast<std::size_t>(i)], w.values[static_cast<std::size_t>(k + i)])
            << describe(format) << " column " << i << " of " << k;
      }
      ASSERT_EQ(row.back(), 7.0F) << "wrote beyond the row";
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, GroupedLinearTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
