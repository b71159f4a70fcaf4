// The other CUDA kernels against the reference.
#include <gtest/gtest.h>

#include <cmath>
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

class CudaElementwise : public CudaKernelTest {};
class CudaNorm : public CudaKernelTest {};

std::size_t count(std::int64_t n) {
  return static_cast<std::size_t>(n);
}

TEST_F(CudaNorm, LayerNormAndRmsNormOfRaggedRows) {
  for (const std::int64_t cols : {1, 7, 64, 257, 1100}) {
    const std::int64_t rows = 3;
    const std::int64_t stride = cols + 5;
    const auto x = random_floats(count(rows * stride), 1);
    const auto weight = random_floats(count(cols), 2);
    const auto bias = random_floats(count(cols), 3);
    for (const bool centred : {true, false}) {
      const DeviceArray<float> data(x, stream), w(weight, stream), b(bias, stream);
      const kernels::Norm op{data.data(), stride, w.data(),    centred ? b.data() : nullptr,
                             1e-5F,       cols,   data.data(), stride};
      ASSERT_EQ(centred ? layer_norm(stream, op, rows) : rms_norm(stream, op, rows), cudaSuccess);
      const std::vector<float> result = data.read(stream);
      for (std::int64_t row = 0; row < rows; ++row) {
        const float* from = x.data() + row * stride;
        const auto expected =
            centred ? kernels::reference::layer_norm(from, weight.data(), bias.data(), 1e-5F, cols)
                    : kernels::reference::rms_norm(from, weight.data(), 1e-5F, cols);
        expect_near({result.begin() + row * stride, result.begin() + row * stride + cols}, expected, 2e-5);
        EXPECT_EQ(result[count(row * stride + cols)], from[cols]) << "beyond the row";
      }
    }
  }
}

double reference_activation(double x, Activation activation) {
  switch (activation) {
    case Activation::gelu:
      return kernels::reference::gelu(x);
    case Activation::quick_gelu:
      return kernels::reference::quick_gelu(x);
    case Activation::silu:
      return kernels::reference::silu(x);
    case Activation::none:
      break;
  }
  return x;
}

TEST_F(CudaElementwise, EndsAndGates) {
  for (const Activation activation :
       {Activation::none, Activation::gelu, Activation::quick_gelu, Activation::silu}) {
    const std::int64_t rows = 3;
    const std::int64_t cols = 300;
    const auto x = random_floats(count(rows * 2 * cols), 1);
    const auto bias = random_floats(count(cols), 2);
    const auto residual = random_floats(count(rows * cols), 3);
    const DeviceArray<float> both(x, stream), b(bias, stream), r(residual, stream), y(count(rows * cols));
    const Rows halves{both.data(), rows, 2 * cols, 2 * cols};
    const Rows to{y.data(), rows, cols, cols};
    ASSERT_EQ(gate(stream, halves, activation, to), cudaSuccess);
    std::vector<double> gated, finished;
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const float value = x[count(i / cols * 2 * cols + i % cols)];
      const float up = x[count(i / cols * 2 * cols + i % cols + cols)];
      gated.push_back(reference_activation(value, activation) * up);
      finished.push_back(reference_activation(value + bias[count(i % cols)], activation) +
                         residual[count(i)]);
    }
    expect_near(y.read(stream), gated, 1e-6);
    const Rows first_half{both.data(), rows, cols, 2 * cols};
    ASSERT_EQ(finish_linear(stream, {first_half, b.data(), activation, r.data(), cols}), cudaSuccess);
    const std::vector<float> result = both.read(stream);
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      ASSERT_NEAR(result[count(i / cols * 2 * cols + i % cols)], finished[count(i)], 1e-6);
    }
  }
}

TEST_F(CudaElementwise, ScaledSums) {
  const DeviceArray<float> x({1, 2, 3, 4}, stream), y({10, 20, 30, 40}, stream), scale({2, -1}, stream);
  add_scaled(stream, {x.data(), 2, 2, 2}, scale.data(), {y.data(), 2, 2, 2});
  scale_rows(stream, {y.data(), 2, 2, 2}, 0.5F);
  EXPECT_EQ(y.read(stream), (std::vector<float>{6, 9, 18, 18}));
}

TEST_F(CudaElementwise, PatchesUnfoldInTheOrderOfAConvolution) {
  const std::int64_t size = 6;
  const std::int64_t patch = 2;
  const auto pixels = random_floats(count(2 * 3 * size * size), 1);
  const DeviceArray<float> from(pixels, stream), y(count(2 * 9 * 12));
  ASSERT_EQ(unfold_patches(stream, {from.data(), 2, 3, size, patch}, {y.data(), 18, 12, 12}), cudaSuccess);
  const std::vector<float> result = y.read(stream);
  for (std::int64_t row = 0; row < 18; ++row) {
    for (std::int64_t i = 0; i < 12; ++i) {
      const std::int64_t line = row % 9 / 3 * patch + i / patch % patch;
      const std::int64_t column = row % 3 * patch + i % patch;
      EXPECT_EQ(result[count(row * 12 + i)],
                pixels[count(((row / 9 * 3 + i / 4) * size + line) * size + column)]);
    }
  }
}

TEST_F(CudaElementwise, TowerEmbeddingsPutTheClassFirst) {
  const DeviceArray<float> patches({1, 2, 3, 4}, stream), first({100}, stream),
      positions({0.5F, 0.25F, 0.125F}, stream);
  const DeviceArray<float> y(6);
  tower_embed(stream, {patches.data(), 4, 1, 1}, first.data(), positions.data(), 3, {y.data(), 6, 1, 1});
  EXPECT_EQ(y.read(stream), (std::vector<float>{100.5F, 1.25F, 2.125F, 100.5F, 3.25F, 4.125F}));
}

TEST_F(CudaElementwise, PixelShuffleKeepsRowsFirst) {
  std::vector<float> values(16);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i);
  const DeviceArray<float> patches(values, stream), y(16);
  pixel_shuffle(stream, {patches.data(), 16, 1, 1}, 2, 2, {y.data(), 4, 4, 4});
  EXPECT_EQ(y.read(stream), (std::vector<float>{0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15}));
}

TEST_F(CudaElementwise, TokensComeFromTheTableOrThePicture) {
  const std::int64_t cols = 40;
  const DeviceArray<std::int32_t> ids({2, -2, 0}, stream);
  const auto images = random_floats(count(2 * cols), 1);
  const auto values = random_floats(count(3 * cols), 2);
  const DeviceArray<float> pictures(images, stream), y(count(3 * cols));
  const auto check = [&](const TokenTable& table, const std::vector<float>& rows) {
    ASSERT_EQ(
        token_embed(stream, ids.data(), table, {pictures.data(), 2, cols, cols}, {y.data(), 3, cols, cols}),
        cudaSuccess);
    const std::vector<float> result = y.read(stream);
    for (std::int64_t i = 0; i < cols; ++i) {
      ASSERT_EQ(result[count(i)], rows[count(2 * cols + i)]);
      ASSERT_EQ(result[count(cols + i)], images[count(cols + i)]);
      ASSERT_EQ(result[count(2 * cols + i)], rows[count(i)]);
    }
  };
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16}) {
    std::vector<std::byte> bytes(values.size() * size_of(dtype));
    from_f32(dtype, values, bytes);
    std::vector<float> rows(values.size());
    to_f32(dtype, bytes, rows);
    const DeviceArray<std::byte> table(bytes, stream);
    check({table.data(), backend::element_of(dtype), nullptr}, rows);
  }
  for (const std::uint8_t bits : {4, 8}) {
    const Grouped format{bits, 32, DType::f16, galago::GroupOffset::none, Codebook::none};
    const kernels::GroupedRows layout = backend::rows_of(format, cols);
    std::vector<std::byte> bytes(count(3 * layout.row_bytes));
    std::vector<float> rows(values.size());
    for (std::int64_t row = 0; row < 3; ++row) {
      const std::span record(bytes.data() + row * layout.row_bytes, count(layout.row_bytes));
      ASSERT_TRUE(encode_row(format, std::span(values).subspan(count(row * cols), count(cols)), record));
      decode_row(format, record, std::span(rows).subspan(count(row * cols), count(cols)));
    }
    const DeviceArray<std::byte> table(bytes, stream);
    check({table.data(), Element::f32, &layout}, rows);
  }
}

TEST_F(CudaElementwise, RotationTurnsPairsOfHeads) {
  const std::int64_t head_size = 12;
  const std::int64_t turned = 8;  // the first ones of a head
  const std::int64_t rows = 3;
  const auto x = random_floats(count(rows * 2 * head_size), 1);
  const DeviceArray<float> data(x, stream), frequencies(4), table(count(rows * turned));
  rope_frequencies(stream, 10000, turned, frequencies.data(), 4);
  const SequencePlaces places(5, rows, stream);
  rope_table(stream, frequencies.data(), places.places().positions, 1, {table.data(), rows, turned, turned});
  rope(stream, {data.data(), rows, 2 * head_size, 2 * head_size}, head_size,
       {table.data(), rows, turned, turned});
  const std::vector<float> inverse = frequencies.read(stream);
  EXPECT_NEAR(inverse[1], std::pow(10000.0, -0.25), 1e-7);
  const std::vector<float> result = data.read(stream);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t head = 0; head < 2; ++head) {
      const std::int64_t at = (row * 2 + head) * head_size;
      const auto expected = kernels::reference::rope(x.data() + at, inverse.data(), 5 + row, turned);
      expect_near({result.begin() + at, result.begin() + at + turned}, expected, 1e-6);
      EXPECT_EQ(result[count(at + turned)], x[count(at + turned)]);
    }
  }
}

}  // namespace
}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
