// The CUDA kernels for linear layers against the reference.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "backend/kernel_formats.h"
#include "kernels/cuda/kernel_test.h"
#include "kernels/cuda/kernels.h"
#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tensor/convert.h"
#include "tensor/grouped.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

using ::galago::testing::random_floats;

/// Rows of one format in bytes, and the values that they stand for.
struct StoredWeights {
  std::vector<std::byte> bytes;
  std::vector<float> values;
};

StoredWeights store_plain(DType dtype, std::vector<float> values) {
  StoredWeights stored{std::vector<std::byte>(values.size() * size_of(dtype)), std::move(values)};
  from_f32(dtype, stored.values, stored.bytes);
  to_f32(dtype, stored.bytes, stored.values);
  return stored;
}

/// Arbitrary quants, scales and offsets.
StoredWeights store_grouped(const Grouped& format, std::int64_t n, std::int64_t k) {
  const Bytes row_bytes = layout_of(format, k).row_bytes;
  StoredWeights stored{std::vector<std::byte>(static_cast<std::size_t>(n) * row_bytes),
                       std::vector<float>(static_cast<std::size_t>(n * k))};
  const bool from_zero =
      format.bits == 4 && (format.offset != galago::GroupOffset::none || format.codebook != Codebook::none);
  const int range = format.bits == 8 ? 127 : 7;
  for (std::int64_t j = 0; j < n; ++j) {
    const std::span record(stored.bytes.data() + static_cast<Bytes>(j) * row_bytes, row_bytes);
    GroupedRow row(format, k, record);
    for (std::int64_t i = 0; i < k; ++i) {
      const int quant = static_cast<int>((i * 7919 + j * 104729) % (2 * range + 1)) - range;
      row.put_quant(i, from_zero ? quant + 8 : quant);
    }
    for (std::int64_t g = 0; g * format.group < k; ++g) {
      row.put_scale(g, (0.3F + 0.1F * static_cast<float>((g + j) % 4)) / static_cast<float>(range));
      if (format.offset == galago::GroupOffset::minimum)
        row.put_minimum(g, 0.05F * static_cast<float>(g % 3) - 0.5F);
      if (format.offset == galago::GroupOffset::zero_point)
        row.put_zero(g, static_cast<int>((3 * g + j) % 17));
    }
    decode_row(
        format, record,
        std::span(stored.values).subspan(static_cast<std::size_t>(j * k), static_cast<std::size_t>(k)));
  }
  return stored;
}

struct Problem {
  std::int64_t m, n, k;
};

struct TensorCase {
  bool gated;
  std::int64_t n_splits;
};

/// The product, and the sum of its terms' sizes.
std::pair<double, double> dot_and_size(const float* a, const float* b, std::int64_t n) {
  double size = 0;
  for (std::int64_t i = 0; i < n; ++i) size += std::abs(static_cast<double>(a[i]) * b[i]);
  return {kernels::reference::dot(a, b, n), size};
}

/// A product with weights of n rows or, gated, 2 n. Bias and residual are random; y's memory is the
/// residual's, as in a decoder. x is left to set.
struct Product {
  std::vector<float> bias, residual;
  DeviceArray<float> device_bias, y;
  DeviceArray<std::byte> w;
  kernels::Linear op{};

  Product(const Problem& p, const StoredWeights& weights, Element element,
          const kernels::GroupedRows* grouped, bool gated, cudaStream_t stream)
      : bias(random_floats(static_cast<std::size_t>(p.n), 2)),
        residual(random_floats(static_cast<std::size_t>(p.m * p.n), 3)),
        device_bias(bias, stream),
        y(residual, stream),
        w(weights.bytes, stream) {
    op.w = w.data();
    op.up = gated ? w.data() + weights.bytes.size() / 2 : nullptr;
    op.element = element;
    op.m = p.m;
    op.n = p.n;
    op.k = p.k;
    op.activation = Activation::silu;
    op.grouped = grouped;
    if (!gated) {
      op.bias = device_bias.data();
      op.residual = y.data();
      op.residual_stride = p.n;
    }
    op.y = y.data();
    op.y_stride = p.n;
  }
};

class CudaLinear : public CudaKernelTest {
 protected:
  void check_tensor(const Problem& p, const StoredWeights& weights, Element element,
                    const kernels::GroupedRows* grouped, const TensorCase& how);

  /// Compares gemv with the reference for a weight of `rows` = n or, gated, 2 n rows.
  void check(const Problem& p, const StoredWeights& weights, Element element,
             const kernels::GroupedRows* grouped, bool gated) {
    const std::int64_t x_stride = p.k + (p.m % 2 == 0 ? 3 : 4);  // rows that begin anywhere, or at 16 bytes
    const auto x = random_floats(static_cast<std::size_t>(p.m * x_stride), 1);
    const DeviceArray<float> device_x(x, stream);
    Product product(p, weights, element, grouped, gated, stream);
    product.op.x = device_x.data();
    product.op.x_stride = x_stride;
    ASSERT_EQ(gemv(stream, product.op), cudaSuccess);
    const std::vector<float> result = product.y.read(stream);
    for (std::int64_t row = 0; row < p.m; ++row) {
      for (std::int64_t j = 0; j < p.n; ++j) {
        const float* xs = x.data() + row * x_stride;
        const float* ws = weights.values.data() + j * p.k;
        double expected = kernels::reference::dot(xs, ws, p.k);
        double size = 1;
        for (std::int64_t i = 0; i < p.k; ++i) size += std::abs(static_cast<double>(xs[i]) * ws[i]);
        if (gated) {
          const double up = kernels::reference::dot(xs, ws + p.n * p.k, p.k);
          expected = kernels::reference::silu(expected) * up;
          size *= 2 + std::abs(up);
        } else {
          expected = kernels::reference::silu(expected + product.bias[static_cast<std::size_t>(j)]) +
                     product.residual[static_cast<std::size_t>(row * p.n + j)];
        }
        // One rounding an addition: k / 32 of them in a lane, five among lanes, and the end's.
        const double bound = size * (static_cast<double>(p.k) / 32 + 16) * 0x1p-23;
        ASSERT_NEAR(result[static_cast<std::size_t>(row * p.n + j)], expected, bound)
            << "row " << row << " column " << j << " of m " << p.m << " n " << p.n << " k " << p.k;
      }
    }
  }
};

void CudaLinear::check_tensor(const Problem& p, const StoredWeights& weights, Element element,
                              const kernels::GroupedRows* grouped, const TensorCase& how) {
  const std::int64_t x_stride = p.k + 3;
  auto x = random_floats(static_cast<std::size_t>(p.m * x_stride), 1);
  const DeviceArray<float> device_x(x, stream);
  const DeviceArray<std::uint16_t> narrowed(static_cast<std::size_t>(p.m * narrow_stride(p.k)));
  const DeviceArray<float> partials(static_cast<std::size_t>(how.n_splits * p.m * 2 * p.n));
  const Product product(p, weights, element, grouped, how.gated, stream);
  ASSERT_TRUE(takes_tensor_product(product.op));
  const Element narrow = grouped != nullptr ? Element::f16 : element;
  ASSERT_EQ(narrow_rows(stream, {device_x.data(), p.m, p.k, x_stride}, narrow, narrowed.data()), cudaSuccess);
  ASSERT_EQ(linear_tensor(stream, product.op, {narrowed.data(), partials.data(), how.n_splits}), cudaSuccess);
  const std::vector<float> result = product.y.read(stream);
  for (float& value : x) {
    value = narrow == Element::bf16 ? bf16_to_f32(f32_to_bf16(value)) : f16_to_f32(f32_to_f16(value));
  }
  // Quants' values are rounded to FP16, x is as given; sums are FP32.
  const double rounding = (grouped != nullptr ? 0x1p-11 : 0) + static_cast<double>(p.k + 16) * 0x1p-24;
  for (std::int64_t row = 0; row < p.m; ++row) {
    for (std::int64_t j = 0; j < p.n; ++j) {
      const auto [sum, size] = dot_and_size(x.data() + row * x_stride, weights.values.data() + j * p.k, p.k);
      const auto at = static_cast<std::size_t>(row * p.n + j);
      double expected = 0;
      double bound = size * rounding * 1.1;  // SiLU's steepest
      if (how.gated) {
        const auto [up, up_size] =
            dot_and_size(x.data() + row * x_stride, weights.values.data() + (p.n + j) * p.k, p.k);
        expected = kernels::reference::silu(sum) * up;
        bound = bound * (std::abs(up) + up_size * rounding) + std::abs(sum) * up_size * rounding;
      } else {
        expected =
            kernels::reference::silu(sum + product.bias[static_cast<std::size_t>(j)]) + product.residual[at];
      }
      ASSERT_NEAR(result[at], expected, bound + 1e-6 * (1 + std::abs(expected)))
          << "row " << row << " column " << j << " of m " << p.m << " n " << p.n << " k " << p.k;
    }
  }
}

constexpr Problem some_rows[] = {{9, 5, 8},     {16, 64, 64},  {17, 33, 72},
                                 {40, 70, 264}, {70, 16, 136}, {12, 40, 456}};

TEST_F(CudaLinear, PlainWeightsOnTensorCores) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    for (const Problem& p : some_rows) {
      for (const TensorCase& how : {TensorCase{false, 1}, TensorCase{true, 1}, TensorCase{true, 3}}) {
        const auto n_values = static_cast<std::size_t>((how.gated ? 2 : 1) * p.n * p.k);
        check_tensor(p, store_plain(dtype, random_floats(n_values, 4)), backend::element_of(dtype), nullptr,
                     how);
      }
    }
  }
}

TEST_F(CudaLinear, GroupedWeightsOnTensorCores) {
  for (const std::uint8_t bits : {4, 8}) {
    for (const std::int32_t group : {32, 64, 128}) {
      for (const galago::GroupOffset offset :
           {galago::GroupOffset::none, galago::GroupOffset::minimum, galago::GroupOffset::zero_point}) {
        const Grouped format{bits, group, DType::f16, offset, Codebook::none};
        SCOPED_TRACE(describe(format));
        for (const Problem& p : {Problem{9, 18, 33}, Problem{33, 70, 160}, Problem{12, 9, 456}}) {
          for (const TensorCase& how : {TensorCase{false, 1}, TensorCase{true, 1}, TensorCase{false, 2}}) {
            const kernels::GroupedRows rows = backend::rows_of(format, p.k);
            check_tensor(p, store_grouped(format, how.gated ? 2 * p.n : p.n, p.k), Element::f32, &rows, how);
          }
        }
      }
    }
  }
}

TEST_F(CudaLinear, WeightsThatTensorCoresDoNotTakeAreRefused) {
  const DeviceArray<std::byte> w(64);
  kernels::Linear op{};
  op.w = w.data();
  op.k = 64;
  op.element = Element::f16;
  EXPECT_TRUE(takes_tensor_product(op));
  op.k = 63;
  EXPECT_FALSE(takes_tensor_product(op));
  op.k = 64;
  op.element = Element::f32;
  EXPECT_FALSE(takes_tensor_product(op));
  for (const Grouped& format : {Grouped{4, 16, DType::f16, galago::GroupOffset::none, Codebook::none},
                                Grouped{4, 32, DType::f32, galago::GroupOffset::none, Codebook::none},
                                Grouped{4, 64, DType::f16, galago::GroupOffset::none, Codebook::nf4}}) {
    const kernels::GroupedRows rows = backend::rows_of(format, 64);
    op.grouped = &rows;
    EXPECT_FALSE(takes_tensor_product(op));
  }
}

TEST_F(CudaLinear, SumsAreSplitOnlyWhereBlocksAreFewAndPartialsFit) {
  kernels::Linear op{};
  op.m = 16;
  op.n = 4096;
  op.k = 4096;
  EXPECT_EQ(tensor_product_splits(op, 132, 1 << 30), 8);
  EXPECT_EQ(tensor_product_splits(op, 132, 3 * 16 * 4096), 3);
  op.n = 1 << 20;
  EXPECT_EQ(tensor_product_splits(op, 132, 1 << 30), 1);
  op.n = 64;
  op.k = 128;
  EXPECT_EQ(tensor_product_splits(op, 132, 1 << 30), 1);
}

constexpr Problem problems[] = {{1, 1, 1},    {1, 16, 64},  {2, 17, 40},  {3, 5, 33},   {4, 33, 96},
                                {5, 15, 100}, {8, 40, 264}, {1, 65, 520}, {1, 7, 2100}, {3, 5, 2048}};

TEST_F(CudaLinear, PlainWeightsOfEveryTypeAndShape) {
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    for (const Problem& p : problems) {
      for (const bool gated : {false, true}) {
        const auto n_values = static_cast<std::size_t>((gated ? 2 : 1) * p.n * p.k);
        check(p, store_plain(dtype, random_floats(n_values, 4)), backend::element_of(dtype), nullptr, gated);
      }
    }
  }
}

TEST_F(CudaLinear, GroupedWeightsOfEveryFormat) {
  std::vector<Grouped> formats = {{4, 64, DType::f32, galago::GroupOffset::none, Codebook::nf4},
                                  {4, 16, DType::f32, galago::GroupOffset::none, Codebook::nf4},
                                  {4, 32, DType::f16, galago::GroupOffset::none, Codebook::iq4_nl}};
  for (const std::uint8_t bits : {4, 8}) {
    for (const std::int32_t group : {16, 32, 64, 128}) {
      for (const galago::GroupOffset offset :
           {galago::GroupOffset::none, galago::GroupOffset::minimum, galago::GroupOffset::zero_point}) {
        formats.push_back({bits, group, group == 32 ? DType::f32 : DType::f16, offset, Codebook::none});
      }
    }
  }
  for (const Grouped& format : formats) {
    SCOPED_TRACE(describe(format));
    for (const Problem& p : {Problem{1, 18, 33}, Problem{3, 5, 160}, Problem{1, 2, 1}, Problem{6, 7, 264},
                             Problem{1, 3, 2090}}) {
      for (const bool gated : {false, true}) {
        const kernels::GroupedRows rows = backend::rows_of(format, p.k);
        check(p, store_grouped(format, gated ? 2 * p.n : p.n, p.k), Element::f32, &rows, gated);
      }
    }
  }
}

TEST_F(CudaLinear, DequantisedRowsAreTheRowsInFp16) {
  const Grouped format{4, 32, DType::f16, galago::GroupOffset::minimum, Codebook::none};
  const StoredWeights weights = store_grouped(format, 5, 72);
  const DeviceArray<std::byte> from(weights.bytes, stream);
  const DeviceArray<std::uint16_t> to(5 * 72);
  dequantise(stream, backend::rows_of(format, 72), from.data(), 5, 72, to.data());
  const std::vector<std::uint16_t> result = to.read(stream);
  for (std::size_t i = 0; i < result.size(); ++i) {
    EXPECT_NEAR(f16_to_f32(result[i]), weights.values[i], 0x1p-11 * std::abs(weights.values[i]) + 1e-7);
  }
}

TEST_F(CudaLinear, NarrowedRowsSaturateInFp16AndAreFilledUp) {
  const DeviceArray<float> x({1, 1e6F, 0, -1e6F, 0.1F, 0}, stream);
  const DeviceArray<std::uint16_t> to(16);
  narrow_rows(stream, {x.data(), 2, 2, 3}, Element::f16, to.data());
  EXPECT_EQ(to.read(stream), (std::vector<std::uint16_t>{0x3c00, 0x7bff, 0, 0, 0, 0, 0, 0, 0xfbff,
                                                         f32_to_f16(0.1F), 0, 0, 0, 0, 0, 0}));
  narrow_rows(stream, {x.data(), 2, 2, 3}, Element::bf16, to.data());
  EXPECT_EQ(to.read(stream)[1], f32_to_bf16(1e6F));
}

}  // namespace
}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
