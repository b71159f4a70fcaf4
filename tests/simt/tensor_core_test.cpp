// Tensor cores, matrix loads and late copies of the emulated device against plain loops, and their detectors.
#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "kernels/cuda/kernel_test.h"
#include "kernels/cuda/tensor_core.cuh"
#include "simt/expect_fault.h"
#include "support/random.h"
#include "tensor/convert.h"

namespace galago::kernels::emulated {
namespace {

using ::galago::testing::random_floats;
using simt::expect_fault;

class TensorCore : public CudaKernelTest {};

struct Product {
  const std::uint16_t *a, *b;  // [16, 16] and, column after column, [8, 16]
  float* c;                    // [16, 8]
};

/// Fragments as PTX's manual lays them out, element by element.
template <class T>
__global__ void product_kernel(const Product op) {
  const Global<const std::uint16_t> a(op.a), b(op.b);
  const Global<float> c(op.c);
  const int g = static_cast<int>(lane_index()) / 4;
  const int t = static_cast<int>(lane_index()) % 4;
  const auto pair = [](const Global<const std::uint16_t>& from, int at) {
    return from[at] | static_cast<std::uint32_t>(from[at + 1]) << 16;
  };
  FragmentA left{};
  FragmentB right{};
  FragmentC sums{};
  for (int i = 0; i < 4; ++i) left.words[i] = pair(a, (g + i % 2 * 8) * 16 + 2 * t + i / 2 * 8);
  for (int i = 0; i < 2; ++i) right.words[i] = pair(b, g * 16 + 2 * t + i * 8);
  for (int i = 0; i < 4; ++i) sums.values[i] = c[(g + i / 2 * 8) * 8 + 2 * t + i % 2];
  multiply_add<T>(sums, left, right);
  for (int i = 0; i < 4; ++i) c[(g + i / 2 * 8) * 8 + 2 * t + i % 2] = sums.values[i];
}

TEST_F(TensorCore, ProductsEqualPlainOnes) {
  for (const DType dtype : {DType::f16, DType::bf16}) {
    const auto stored = [&](unsigned seed, std::size_t n) {
      std::vector<float> values = random_floats(n, seed);
      std::vector<std::uint16_t> bits(n);
      from_f32(dtype, values, std::as_writable_bytes(std::span(bits)));
      to_f32(dtype, std::as_bytes(std::span(bits)), values);
      return std::pair(bits, values);
    };
    const auto [a_bits, a] = stored(1, 256);
    const auto [b_bits, b] = stored(2, 128);
    const auto c = random_floats(128, 3);
    const DeviceArray<std::uint16_t> device_a(a_bits, stream), device_b(b_bits, stream);
    const DeviceArray<float> device_c(c, stream);
    const Product op{device_a.data(), device_b.data(), device_c.data()};
    ASSERT_EQ(dtype == DType::f16
                  ? launch<product_kernel<Half>>(stream, "product", Grid{1, 1, 1}, 32, 0, op)
                  : launch<product_kernel<Bfloat16>>(stream, "product", Grid{1, 1, 1}, 32, 0, op),
              cudaSuccess);
    std::vector<double> expected(128);
    for (std::size_t row = 0; row < 16; ++row) {
      for (std::size_t column = 0; column < 8; ++column) {
        expected[row * 8 + column] = c[row * 8 + column];
        for (std::size_t k = 0; k < 16; ++k) {
          expected[row * 8 + column] += static_cast<double>(a[row * 16 + k]) * b[column * 16 + k];
        }
      }
    }
    expect_near(device_c.read(stream), expected, 1e-5);
  }
}

struct Words {
  const std::uint16_t* from;
  std::uint32_t* to;
  int n;
};

/// Four matrices one below the other; what each lane gets of them and of their transposes.
__global__ void matrices_kernel(const Words op) {
  const Global<const std::uint16_t> from(op.from);
  const Global<std::uint32_t> to(op.to);
  const Shared<Half> rows = dynamic_shared<Half>();
  for (int i = 0; i < 8; ++i) rows[lane_index() * 8 + i] = Half{from[lane_index() * 8 + i]};
  warp_barrier();
  std::uint32_t words[4];
  load_matrices(words, rows + lane_index() * 8);
  for (int i = 0; i < 4; ++i) to[lane_index() * 8 + i] = words[i];
  load_transposed(words, rows + lane_index() * 8);
  for (int i = 0; i < 4; ++i) to[lane_index() * 8 + 4 + i] = words[i];
}

TEST_F(TensorCore, LanesGetTheirPartsOfFourMatrices) {
  std::vector<std::uint16_t> values(256);
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint16_t>(i);
  const DeviceArray<std::uint16_t> from(values, stream);
  const DeviceArray<std::uint32_t> to(256);
  launch<matrices_kernel>(stream, "matrices", Grid{1, 1, 1}, 32, 512, Words{from.data(), to.data(), 0});
  const std::vector<std::uint32_t> result = to.read(stream);
  for (std::uint32_t lane = 0; lane < 32; ++lane) {
    const std::uint32_t g = lane / 4;
    const std::uint32_t t = lane % 4;
    for (std::uint32_t matrix = 0; matrix < 4; ++matrix) {
      const std::uint32_t straight = matrix * 64 + g * 8 + 2 * t;
      const std::uint32_t across = matrix * 64 + 2 * t * 8 + g;
      EXPECT_EQ(result[lane * 8 + matrix], straight | (straight + 1) << 16);
      EXPECT_EQ(result[lane * 8 + 4 + matrix], across | (across + 8) << 16);
    }
  }
}

/// Copies 16 bytes a lane, n of them from memory, and reads its neighbour's.
template <bool waits>
__global__ void late_copy_kernel(const Words op) {
  const Global<const std::uint16_t> from(op.from);
  const Global<std::uint32_t> to(op.to);
  const Shared<std::uint32_t> words = dynamic_shared<std::uint32_t>();
  copy_async(words + lane_index() * 4, from + lane_index() * 8, op.n);
  commit_copies();
  wait_for_copies<waits ? 0 : 1>();
  warp_barrier();
  for (int i = 0; i < 4; ++i) to[lane_index() * 4 + i] = words[(lane_index() + 1) % 32 * 4 + i];
}

TEST_F(TensorCore, CopiesArriveWhenWaitedForAndFillUpWithZeros) {
  std::vector<std::uint16_t> values(256, 7);
  const DeviceArray<std::uint16_t> from(values, stream);
  const DeviceArray<std::uint32_t> to(128);
  const Words op{from.data(), to.data(), 6};
  launch<late_copy_kernel<true>>(stream, "late_copy", Grid{2, 1, 1}, 32, 512, op);
  const std::vector<std::uint32_t> result = to.read(stream);
  for (std::size_t i = 0; i < result.size(); ++i) {
    EXPECT_EQ(result[i], i % 4 == 0 ? 0x70007U : (i % 4 == 1 ? 7U : 0U));
  }
}

TEST_F(TensorCore, FindsCopiesThatNobodyWaitedForAndCopiesFromElsewhere) {
  const DeviceArray<std::uint16_t> from(std::vector<std::uint16_t>(256, 7), stream);
  const DeviceArray<std::uint32_t> to(128);
  launch<late_copy_kernel<false>>(stream, "late_copy", Grid{1, 1, 1}, 32, 512,
                                  Words{from.data(), to.data(), 16});
  expect_fault(stream, simt::Mistake::unwritten_shared);
  launch<late_copy_kernel<true>>(stream, "late_copy", Grid{1, 1, 1}, 32, 512,
                                 Words{from.data() + 8, to.data(), 16});
  expect_fault(stream, simt::Mistake::outside_allocation);
  launch<late_copy_kernel<true>>(stream, "late_copy", Grid{1, 1, 1}, 32, 512,
                                 Words{from.data() + 4, to.data(), 8});
  expect_fault(stream, simt::Mistake::misaligned_access);
}

}  // namespace
}  // namespace galago::kernels::emulated
