// Resampling's kernels against the reference, bit for bit, over odd sizes.
#include <algorithm>
#include <cstdint>
#include <vector>

#include "kernels/reference/reference.h"
#include "tables.h"

namespace galago::testing {
namespace {

using kernels::resample_low_bits;
using kernels::resample_rows;

class ResampleTest : public KernelTest {
 protected:
  /// Less than `most`.
  std::uint32_t draw(std::uint32_t most) {
    state_ = state_ * 1664525U + 1013904223U;
    return static_cast<std::uint32_t>(std::uint64_t{state_} * most >> 32);
  }

  /// One of `n` weights: from -0.5 to 1.5 in all, so that some sums leave the levels' range on either side.
  std::int32_t draw_weight(std::int64_t n) {
    return (static_cast<std::int32_t>(draw(1 << 23)) - (1 << 21)) / static_cast<std::int32_t>(n);
  }

  std::vector<std::uint8_t> draw_bytes(std::int64_t n) {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n));
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(draw(256));
    return bytes;
  }

 private:
  std::uint32_t state_ = 1;
};

TEST_P(ResampleTest, ColumnsAreTheSumsOfTheirTaps) {
  for (const std::int64_t n_inputs : {1, 2, 3, 5, 8, 33, 100}) {
    constexpr std::int64_t n_outputs = 9;
    const std::int64_t most = std::min<std::int64_t>(n_inputs, 23), stride = (most + 3) / 4 * 8;
    std::vector<std::int32_t> first, count;
    std::vector<std::int16_t> parts(static_cast<std::size_t>(n_outputs * stride));
    std::vector<std::vector<std::int32_t>> weights;
    for (std::int64_t i = 0; i < n_outputs; ++i) {
      count.push_back(static_cast<std::int32_t>(1 + draw(static_cast<std::uint32_t>(most))));
      first.push_back(
          static_cast<std::int32_t>(draw(static_cast<std::uint32_t>(n_inputs - count.back() + 1))));
      weights.emplace_back();
      for (std::int64_t tap = 0; tap < count.back(); ++tap) {
        const std::int32_t weight = draw_weight(count.back());
        weights.back().push_back(weight);
        std::int16_t* const pair = parts.data() + i * stride + tap / 2 * 4 + tap % 2;
        pair[0] = static_cast<std::int16_t>(weight >> resample_low_bits);
        pair[2] = static_cast<std::int16_t>(weight & ((1 << resample_low_bits) - 1));
      }
    }
    std::vector<std::vector<std::uint8_t>> lines;
    std::vector<const std::uint8_t*> rows;
    for (std::int64_t row = 0; row < resample_rows; ++row) lines.push_back(draw_bytes(3 * n_inputs));
    for (const auto& line : lines) rows.push_back(line.data());
    constexpr std::int64_t row_bytes = 3 * n_outputs + 1;
    std::vector<std::uint8_t> to(resample_rows * row_bytes);
    kernels().resample_columns(rows.data(), n_inputs,
                               {first.data(), count.data(), parts.data(), stride, n_outputs}, to.data(),
                               row_bytes);
    for (std::size_t row = 0; row < resample_rows; ++row) {
      for (std::size_t i = 0; i < n_outputs; ++i) {
        for (std::size_t c = 0; c < 3; ++c) {
          const std::uint8_t* const values = lines[row].data() + static_cast<std::size_t>(first[i]) * 3 + c;
          EXPECT_EQ(to[row * row_bytes + i * 3 + c], kernels::reference::resample(values, 3, weights[i]))
              << n_inputs << ' ' << row << ' ' << i << ' ' << c;
        }
      }
    }
  }
}

TEST_P(ResampleTest, RowsAreAddedWithTheirWeightsAndRounded) {
  for (const std::int64_t n : {1, 7, 16, 33, 100}) {
    const std::vector<std::uint8_t> lines = draw_bytes(2 * resample_rows * n);
    std::vector<std::int32_t> weights, sums(static_cast<std::size_t>(n));
    for (std::int64_t i = 0; i < 2 * resample_rows; ++i) {
      weights.push_back(draw_weight(2 * resample_rows));
    }
    for (std::int64_t i = 0; i < 2; ++i) {
      const std::uint8_t* const line = lines.data() + i * resample_rows * n;
      const std::uint8_t* const rows[] = {line, line + n, line + 2 * n, line + 3 * n};
      kernels().add_rows(rows, weights.data() + i * resample_rows, sums.data(), n);
    }
    std::vector<std::uint8_t> to(sums.size());
    kernels().round_sums(sums.data(), to.data(), n);
    for (std::int64_t i = 0; i < n; ++i) {
      EXPECT_EQ(to[static_cast<std::size_t>(i)], kernels::reference::resample(lines.data() + i, n, weights))
          << n << ' ' << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Isa, ResampleTest, every_table(), table_name);

}  // namespace
}  // namespace galago::testing
