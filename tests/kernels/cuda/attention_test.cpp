// The CUDA attention kernels against the reference: tiles, pages, groups, windows,
// shares.
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include "backend/kernel_formats.h"
#include "kernels/cuda/kernel_test.h"
#include "kernels/cuda/kernels.h"
#include "kernels/cuda/sequence_places.h"
#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

using ::galago::testing::random_floats;
using kernels::reference::Sight;

struct Shape {
  std::int64_t n_heads, n_kv_heads, head_size;
};

/// What tensor cores are given: FP16.
std::vector<float> rounded(std::vector<float> values) {
  for (float& value : values) value = f16_to_f32(f32_to_f16(value));
  return values;
}
/// Values are at most 1, and weights, whose sum is 1, are rounded to 11 bits, exponents and sums to 24.
constexpr double weights_bound = 0x1p-11 + 2e-5;

/// Which kernel, where positions are not split into shares.
enum class Way { many, tensor };

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

/// Rows [first, first + n_rows) of a sequence, by one of the kernels; with shares: by the one that splits
/// positions.
struct PagedRows {
  Shape shape;
  std::int64_t first, n_rows;
  Sight sight{};
  std::int64_t n_splits = 0;
  Way way = Way::many;

  std::int64_t length() const { return first + n_rows; }
  std::int64_t width() const { return shape.n_heads * shape.head_size; }
  std::int64_t kv_width() const { return shape.n_kv_heads * shape.head_size; }
};

class CudaAttention : public CudaKernelTest {
 protected:
  /// Attention of q [n_rows, width], keys and values [length, kv_width] appended to the pages before.
  std::vector<float> attend_pages(const PagedRows& rows, const PagedKeys& paged, const std::vector<float>& q,
                                  const std::vector<float>& k, const std::vector<float>& v) {
    const auto& [n_heads, n_kv_heads, head_size] = rows.shape;
    const DeviceArray<float> device_k(k, stream), device_v(v, stream), device_q(q, stream), out(q.size());
    const SequencePlaces all(0, rows.length(), stream), last(rows.first, rows.n_rows, stream);
    EXPECT_EQ(append_kv(stream, {device_k.data(), rows.length(), rows.kv_width(), rows.kv_width()},
                        {device_v.data(), rows.length(), rows.kv_width(), rows.kv_width()}, all.places(),
                        head_size, paged),
              cudaSuccess);
    Attend op{};
    op.q = {device_q.data(), rows.n_rows, rows.width(), rows.width()};
    op.out = {out.data(), rows.n_rows, rows.width(), rows.width()};
    op.paged = paged;
    op.n_heads = n_heads;
    op.n_kv_heads = n_kv_heads;
    op.head_size = head_size;
    op.scale = 0.3F;
    op.first_position = rows.first;
    op.window = rows.sight.window;
    op.sinks = rows.sight.sinks;
    const DeviceArray<float> partials(
        count(decode_partial_floats(rows.n_rows, n_heads, head_size, rows.n_splits)));
    EXPECT_EQ(rows.n_splits > 0 ? attend_few(stream, op, last.places(), rows.n_splits, partials.data())
              : rows.way == Way::tensor ? attend_tensor(stream, op)
                                        : attend_many(stream, op),
              cudaSuccess);
    return out.read(stream);
  }

  void expect_attended(const PagedRows& rows, const std::vector<float>& result, const std::vector<float>& q,
                       const std::vector<float>& k, const std::vector<float>& v, double bound) {
    const auto& [n_heads, n_kv_heads, head_size] = rows.shape;
    for (std::int64_t row = 0; row < rows.n_rows; ++row) {
      for (std::int64_t head = 0; head < n_heads; ++head) {
        const std::int64_t column = head / (n_heads / n_kv_heads) * head_size;
        const std::int64_t at = row * rows.width() + head * head_size;
        const std::vector<double> expected =
            kernels::reference::attend(q.data() + at, k.data() + column, v.data() + column, rows.kv_width(),
                                       rows.first + row + 1, head_size, 0.3F, rows.sight);
        for (std::int64_t d = 0; d < head_size; ++d) {
          ASSERT_NEAR(result[count(at + d)], expected[count(d)], bound)
              << "row " << row << " head " << head << " element " << d;
        }
      }
    }
  }

  /// Pages of numbers, in disorder.
  void check_pages(const PagedRows& rows, Element element, std::int64_t page_tokens = 16) {
    auto k = random_floats(count(rows.length() * rows.kv_width()), 1);
    auto v = random_floats(count(rows.length() * rows.kv_width()), 2);
    auto q = random_floats(count(rows.n_rows * rows.width()), 3);
    const std::int64_t n_pages = (rows.length() + page_tokens - 1) / page_tokens;
    std::vector<std::int32_t> table(count(n_pages));
    std::iota(table.rbegin(), table.rend(), 1);  // page 0 stays unused
    const std::int64_t page_bytes =
        2 * page_tokens * rows.kv_width() * (element == Element::f32 ? 4 : 2) + 64;
    const DeviceArray<std::int32_t> pages(table, stream);
    const DeviceArray<std::byte> memory(count((n_pages + 1) * page_bytes));
    const std::vector<float> result =
        attend_pages(rows, {memory.data(), page_bytes, page_tokens, element, {}, pages.data()}, q, k, v);
    if (element == Element::f16) {
      k = rounded(k);
      v = rounded(v);
    }
    if (rows.way == Way::tensor) q = rounded(q);
    expect_attended(rows, result, q, k, v, rows.way == Way::tensor ? weights_bound : 1e-5);
  }

  /// Two pictures' tiles, bidirectional.
  void check_tiles(const Shape& shape, std::int64_t tokens, Way way) {
    const std::int64_t n_tiles = 2;
    const std::int64_t width = shape.n_heads * shape.head_size;
    auto qkv = random_floats(count(n_tiles * tokens * 3 * width), 4);
    const DeviceArray<float> device(qkv, stream);
    if (way == Way::tensor) qkv = rounded(qkv);
    const DeviceArray<float> out(count(n_tiles * tokens * width));
    Attend op{};
    op.q = {device.data(), n_tiles * tokens, width, 3 * width};
    op.out = {out.data(), n_tiles * tokens, width, width};
    op.k = device.data() + width;
    op.v = device.data() + 2 * width;
    op.kv_stride = 3 * width;
    op.n_heads = op.n_kv_heads = shape.n_heads;
    op.head_size = shape.head_size;
    op.scale = 0.25F;
    op.tile_rows = tokens;
    ASSERT_EQ(way == Way::tensor ? attend_tensor(stream, op) : attend_many(stream, op), cudaSuccess);
    const std::vector<float> result = out.read(stream);
    for (std::int64_t row = 0; row < n_tiles * tokens; ++row) {
      for (std::int64_t head = 0; head < shape.n_heads; ++head) {
        const float* tile = qkv.data() + row / tokens * tokens * 3 * width + head * shape.head_size;
        const std::vector<double> expected =
            kernels::reference::attend(qkv.data() + row * 3 * width + head * shape.head_size, tile + width,
                                       tile + 2 * width, 3 * width, tokens, shape.head_size, 0.25F);
        for (std::int64_t d = 0; d < shape.head_size; ++d) {
          ASSERT_NEAR(result[count(row * width + head * shape.head_size + d)], expected[count(d)],
                      way == Way::tensor ? weights_bound : 1e-5)
              << "head size " << shape.head_size << " tokens " << tokens << " row " << row;
        }
      }
    }
  }
};

constexpr Grouped int8_rows{8, 32, DType::f16, galago::GroupOffset::none, Codebook::none};
constexpr Grouped int4_rows{4, 32, DType::f16, galago::GroupOffset::minimum, Codebook::none};

/// A page of `tokens` positions whose keys and values in quants are these rows.
struct QuantPage {
  GroupedRows rows;
  std::int64_t tokens, kv_heads, head_size;
  std::vector<std::int32_t> table;

  std::int64_t bytes() const { return 2 * tokens * kv_heads * rows.row_bytes; }
  std::size_t at(std::int64_t position, std::int64_t head, bool value) const {
    const std::int64_t page = table[count(position / tokens)];
    return count(page * bytes() +
                 ((value ? kv_heads * tokens : 0) + head * tokens + position % tokens) * rows.row_bytes);
  }
};

/// What pages hold in place of `values` [length, kv_heads * head_size].
std::vector<float> stored(const std::vector<std::byte>& memory, const QuantPage& page, const Grouped& format,
                          std::int64_t length, bool value) {
  std::vector<float> result(count(length * page.kv_heads * page.head_size));
  for (std::int64_t position = 0; position < length; ++position) {
    for (std::int64_t head = 0; head < page.kv_heads; ++head) {
      const std::size_t to = count((position * page.kv_heads + head) * page.head_size);
      decode_row(format,
                 std::span(memory).subspan(page.at(position, head, value), count(page.rows.row_bytes)),
                 std::span(result).subspan(to, count(page.head_size)));
    }
  }
  return result;
}

TEST_F(CudaAttention, RowsBecomeTheQuantsThatTheCpuStores) {
  for (const Grouped& format :
       {int8_rows, int4_rows, Grouped{4, 32, DType::f16, galago::GroupOffset::none, Codebook::none},
        Grouped{8, 32, DType::f16, galago::GroupOffset::minimum, Codebook::none}}) {
    for (const std::int64_t head_size : {8, 32, 80, 100}) {
      SCOPED_TRACE(describe(format) + ", head size " + std::to_string(head_size));
      const std::int64_t length = 5;
      const QuantPage page{backend::rows_of(format, head_size), 4, 3, head_size, {2, 0}};
      const std::int64_t width = page.kv_heads * head_size;
      auto k = random_floats(count(length * width), 1);
      const auto v = random_floats(count(length * width), 2);
      std::fill_n(k.begin(), head_size, 0.0F);  // no scale at all
      const DeviceArray<float> device_k(k, stream), device_v(v, stream);
      const DeviceArray<std::int32_t> table(page.table, stream);
      const DeviceArray<std::byte> memory(std::vector<std::byte>(count(3 * page.bytes())), stream);
      const PagedKeys paged{memory.data(), page.bytes(), page.tokens, Element::f32, page.rows, table.data()};
      const SequencePlaces all(0, length, stream);
      ASSERT_EQ(append_kv(stream, {device_k.data(), length, width, width},
                          {device_v.data(), length, width, width}, all.places(), head_size, paged),
                cudaSuccess);
      const std::vector<std::byte> bytes = memory.read(stream);
      for (const bool value : {false, true}) {
        const std::vector<float>& from = value ? v : k;
        for (std::int64_t row = 0; row < length * page.kv_heads; ++row) {
          std::vector<std::byte> expected(count(page.rows.row_bytes));
          ASSERT_TRUE(encode_row(format, std::span(from).subspan(count(row * head_size), count(head_size)),
                                 expected));
          const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(
                                              page.at(row / page.kv_heads, row % page.kv_heads, value));
          EXPECT_TRUE(std::equal(expected.begin(), expected.end(), at)) << "row " << row;
        }
      }
    }
  }
}

TEST_F(CudaAttention, WhatIsNotFiniteStaysSoInQuants) {
  const QuantPage page{backend::rows_of(int8_rows, 64), 1, 1, 64, {0}};
  std::vector<float> k(64, 1);
  k[40] = INFINITY;
  const DeviceArray<float> device_k(k, stream), device_v(std::vector<float>(64, 2), stream);
  const DeviceArray<std::int32_t> table(page.table, stream);
  const DeviceArray<std::byte> memory(count(page.bytes()));
  const SequencePlaces only(0, 1, stream);
  append_kv(stream, {device_k.data(), 1, 64, 64}, {device_v.data(), 1, 64, 64}, only.places(), 64,
            {memory.data(), page.bytes(), 1, Element::f32, page.rows, table.data()});
  const std::vector<std::byte> bytes = memory.read(stream);
  for (const float value : stored(bytes, page, int8_rows, 1, false)) EXPECT_TRUE(std::isnan(value));
  for (const float value : stored(bytes, page, int8_rows, 1, true)) EXPECT_EQ(value, 2);
}

/// Attention over pages of quants, against the values that they hold.
class CudaQuantAttention : public CudaAttention {
 protected:
  void check(const PagedRows& rows, const Grouped& format) {
    const auto& [n_heads, n_kv_heads, head_size] = rows.shape;
    SCOPED_TRACE(describe(format) + ", head size " + std::to_string(head_size));
    QuantPage page{backend::rows_of(format, head_size), 16, n_kv_heads, head_size,
                   std::vector<std::int32_t>(count((rows.length() + 15) / 16))};
    std::iota(page.table.rbegin(), page.table.rend(), 0);
    auto q = random_floats(count(rows.n_rows * rows.width()), 3);
    const DeviceArray<std::int32_t> table(page.table, stream);
    const DeviceArray<std::byte> memory(page.table.size() * count(page.bytes()));
    const std::vector<float> result =
        attend_pages(rows, {memory.data(), page.bytes(), page.tokens, Element::f32, page.rows, table.data()},
                     q, random_floats(count(rows.length() * rows.kv_width()), 1),
                     random_floats(count(rows.length() * rows.kv_width()), 2));
    const std::vector<std::byte> bytes = memory.read(stream);
    if (rows.way == Way::tensor) q = rounded(q);
    // Tensor cores round keys (a score is a sum of head_size products of up to 0.3), values and weights.
    const double bound = rows.way == Way::many
                             ? 2e-5
                             : 2 * weights_bound + 2 * 0.3 * 0x1p-11 * static_cast<double>(head_size) / 4;
    expect_attended(rows, result, q, stored(bytes, page, format, rows.length(), false),
                    stored(bytes, page, format, rows.length(), true), bound);
  }
};

TEST_F(CudaQuantAttention, EveryKernelReadsQuants) {
  for (const Grouped& format : {int8_rows, int4_rows}) {
    for (const Shape& shape : {Shape{2, 2, 8}, Shape{4, 1, 80}, Shape{3, 1, 128}, Shape{1, 1, 200}}) {
      check({shape, 0, 1, {}, 1}, format);
      check({shape, 70, 1, {}, 3}, format);
      check({shape, 20, 3}, format);
      check({shape, 0, 1, {}, 0, Way::tensor}, format);
      check({shape, 60, 21, {}, 0, Way::tensor}, format);
      check({shape, 90, 1, {20, 3}, 2}, format);
      check({shape, 90, 5, {20, 3}}, format);
      check({shape, 90, 5, {7, 3}, 0, Way::tensor}, format);
    }
  }
}

TEST_F(CudaAttention, TilesOfAnySizeBothWays) {
  for (const Shape& shape :
       {Shape{1, 1, 16}, Shape{3, 3, 20}, Shape{2, 2, 64}, Shape{1, 1, 80}, Shape{1, 1, 136}}) {
    for (const std::int64_t tokens : {1, 5, 17, 50}) {
      check_tiles(shape, tokens, Way::many);
      if (tokens != 5) check_tiles(shape, tokens == 50 ? 130 : tokens, Way::tensor);
    }
  }
}

constexpr Shape groups[] = {{1, 1, 8}, {4, 2, 24}, {6, 1, 64}, {10, 2, 96}, {2, 1, 128}, {2, 2, 200}};

TEST_F(CudaAttention, ManyRowsOverPages) {
  for (const Shape& shape : groups) {
    SCOPED_TRACE(shape.head_size);
    check_pages({shape, 0, 1}, Element::f32);
    check_pages({shape, 0, 21}, Element::f16);
    check_pages({shape, 30, 9}, Element::f32);
    check_pages({shape, 37, 6, {5, 0}}, Element::f16);
  }
}

TEST_F(CudaAttention, ManyRowsOverPagesOnTensorCores) {
  for (const Shape& shape : groups) {
    SCOPED_TRACE(shape.head_size);
    check_pages({shape, 0, 1, {}, 0, Way::tensor}, Element::f16);
    check_pages({shape, 0, 70, {}, 0, Way::tensor}, Element::f16);
    check_pages({shape, 99, 9, {}, 0, Way::tensor}, Element::f16, 8);
    check_pages({shape, 140, 6, {5, 0}, 0, Way::tensor}, Element::f16, 12);  // whole tiles before the window
  }
  check_pages({{2, 1, 20}, 50, 20, {30, 0}, 0, Way::tensor}, Element::f16);
}

TEST_F(CudaAttention, SinksStayInSightBesideTheWindow) {
  // Windows of one position, within a page, of a page, of several; sinks below and over a tile and a page, up
  // to the window, and beyond the length.
  for (const Sight& sight : {Sight{1, 1}, Sight{5, 4}, Sight{16, 16}, Sight{40, 70}, Sight{30, 17},
                             Sight{5, 1000}, Sight{1000, 4}}) {
    for (const std::int64_t first : {0, 17, 150}) {
      SCOPED_TRACE(::testing::Message()
                   << "window " << sight.window << ", sinks " << sight.sinks << ", after " << first);
      const Shape shape{4, 2, 24};
      check_pages({shape, first, 9, sight}, Element::f32);
      check_pages({shape, first, 70, sight, 0, Way::tensor}, Element::f16);
      check_pages({shape, first, 1, sight, 3}, Element::f16);
      check_pages({shape, first, 2, sight, 1}, Element::f32, 12);
    }
  }
}

TEST_F(CudaAttention, FewRowsOverSharesOfPages) {
  for (const Shape& shape : groups) {
    SCOPED_TRACE(shape.head_size);
    check_pages({shape, 0, 1, {}, 1}, Element::f32);
    check_pages({shape, 2, 1, {}, 4}, Element::f16);  // a share without positions
    check_pages({shape, 70, 1, {}, 3}, Element::f16);
    check_pages({shape, 47, 2, {}, 2}, Element::f32);
    check_pages({shape, 60, 1, {17, 0}, 2}, Element::f16);
    check_pages({shape, 300, 1, {}, 4}, Element::f16);  // fewer shares than there may be
  }
}

TEST_F(CudaAttention, RowsOfSeveralSequencesAreWhatTheyAreAlone) {
  const Shape shape{4, 2, 24};
  const std::int64_t kv = shape.n_kv_heads * shape.head_size, width = shape.n_heads * shape.head_size;
  const std::int64_t page_tokens = 16, page_bytes = 2 * page_tokens * kv * 4, n_splits = 3;
  // Sequences of 400, 1 and 130 tokens; their page tables in a row.
  const std::vector<std::int32_t> positions{399, 0, 129}, tables{0, 25, 26};
  std::vector<std::int32_t> pages(25 + 1 + 9);
  std::iota(pages.rbegin(), pages.rend(), 0);
  const DeviceArray<std::int32_t> device_positions(positions, stream), device_tables(tables, stream),
      device_pages(pages, stream);
  const DeviceArray<float> memory(random_floats(pages.size() * count(page_bytes / 4), 1), stream);
  const DeviceArray<float> q(random_floats(count(3 * width), 2), stream), out(count(3 * width));
  const DeviceArray<float> partials(
      count(decode_partial_floats(3, shape.n_heads, shape.head_size, n_splits)));
  const auto attend = [&](std::int64_t first, std::int64_t n_rows) {
    Attend op{};
    op.q = {q.data() + first * width, n_rows, width, width};
    op.out = {out.data() + first * width, n_rows, width, width};
    op.paged = {memory.data(), page_bytes, page_tokens, Element::f32, {}, device_pages.data()};
    op.n_heads = shape.n_heads;
    op.n_kv_heads = shape.n_kv_heads;
    op.head_size = shape.head_size;
    op.scale = 0.3F;
    EXPECT_EQ(attend_few(stream, op, {device_positions.data() + first, device_tables.data() + first},
                         n_splits, partials.data()),
              cudaSuccess);
    return out.read(stream);
  };
  const std::vector<float> together = attend(0, 3);
  std::vector<float> alone;
  for (std::int64_t row = 0; row < 3; ++row) alone = attend(row, 1);
  EXPECT_EQ(together, alone);
  EXPECT_NE(std::vector<float>(together.begin(), together.begin() + width),
            std::vector<float>(together.begin() + width, together.begin() + 2 * width));
}

}  // namespace
}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
