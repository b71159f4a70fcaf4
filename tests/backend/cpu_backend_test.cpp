// Ops that are more than a kernel: embeddings, patches, pages; and the choice of the instruction set.
#include "backend/cpu/cpu_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <string>

#include "backend/cpu/kernel_choice.h"
#include "galago/error.h"
#include "kernels/reference/reference.h"
#include "support/random.h"
#include "tensor/grouped.h"

namespace galago::backend {
namespace {

using ::galago::testing::random_floats;
using memory::Arena;
using memory::RegionId;

memory::RegionSizes room_for_activations() {
  memory::RegionSizes sizes{};
  sizes[static_cast<std::size_t>(RegionId::activations)] = 4 << 20;
  return sizes;
}

/// A backend with an arena to work in.
struct Bench {
  std::unique_ptr<Backend> backend = make_cpu_backend(2);
  Arena arena = Arena::reserved(room_for_activations());
  Queue queue{memory::Mode::run};
  Execution exec{arena, queue};

  Matrix matrix(std::int64_t rows, std::int64_t cols, const std::vector<float>& values = {}) {
    const Matrix m = arena.matrix(RegionId::activations, rows, cols);
    std::copy(values.begin(), values.end(), m.data);
    return m;
  }
};

Weight weight(const std::vector<float>& values, Shape shape) {
  return {values.data(), DType::f32, shape};
}

TEST(CpuBackend, UnfoldsPatchesInTheOrderOfAConvolutionsWeight) {
  Bench bench;
  const PatchGrid grid{2, 3, 4, 2};
  std::vector<float> pixels(static_cast<std::size_t>(2 * 3 * 4 * 4));
  for (std::size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<float>(i);
  const Matrix y = bench.matrix(8, 12);
  bench.backend->unfold_patches(bench.exec, pixels.data(), grid, y);
  for (std::int64_t tile = 0; tile < 2; ++tile) {
    for (std::int64_t patch = 0; patch < 4; ++patch) {
      for (std::int64_t value = 0; value < 12; ++value) {
        const std::int64_t channel = value / 4, line = value / 2 % 2, column = value % 2;
        const std::int64_t row = patch / 2 * 2 + line;
        const std::int64_t expected = ((tile * 3 + channel) * 4 + row) * 4 + patch % 2 * 2 + column;
        ASSERT_EQ(y.row(tile * 4 + patch)[value], static_cast<float>(expected));
      }
    }
  }
}

TEST(CpuBackend, TowerEmbedPutsTheClassTokenBeforeEachTilesPatches) {
  Bench bench;
  const auto patches = random_floats(2 * 3 * 2, 1);
  const std::vector<float> class_embedding{10, 20};
  const std::vector<float> positions{1, 2, 3, 4, 5, 6, 7, 8};
  const Matrix y = bench.matrix(8, 2);
  bench.backend->tower_embed(bench.exec, bench.matrix(6, 2, patches), weight(class_embedding, {2}),
                             weight(positions, {4, 2}), y);
  for (std::int64_t tile = 0; tile < 2; ++tile) {
    EXPECT_EQ(y.row(tile * 4)[0], 11);
    EXPECT_EQ(y.row(tile * 4)[1], 22);
    for (std::int64_t i = 0; i < 3; ++i) {
      EXPECT_EQ(y.row(tile * 4 + 1 + i)[0], patches[static_cast<std::size_t>((tile * 3 + i) * 2)] +
                                                positions[static_cast<std::size_t>(2 + 2 * i)]);
    }
  }
}

TEST(CpuBackend, PixelShufflePutsTheRowsOfASquareSideBySide) {
  Bench bench;
  // 4 by 4 patches of 2 values, the patch's number and a half more.
  std::vector<float> values;
  for (int patch = 0; patch < 16; ++patch) {
    values.push_back(static_cast<float>(patch));
    values.push_back(static_cast<float>(patch) + 0.5F);
  }
  const Matrix y = bench.matrix(4, 8);
  bench.backend->pixel_shuffle(bench.exec, bench.matrix(16, 2, values), 2, y);
  const std::vector<std::vector<float>> patches{{0, 1, 4, 5}, {2, 3, 6, 7}, {8, 9, 12, 13}, {10, 11, 14, 15}};
  for (std::int64_t token = 0; token < 4; ++token) {
    for (std::int64_t i = 0; i < 8; ++i) {
      const float patch = patches[static_cast<std::size_t>(token)][static_cast<std::size_t>(i / 2)];
      EXPECT_EQ(y.row(token)[i], patch + (i % 2 == 0 ? 0.0F : 0.5F));
    }
  }
}

TEST(CpuBackend, AddScaledScalesEachColumn) {
  Bench bench;
  const std::vector<float> scale{2, -1, 0.5};
  const Matrix y = bench.matrix(2, 3, {1, 1, 1, 10, 10, 10});
  bench.backend->add_scaled(bench.exec, bench.matrix(2, 3, {1, 2, 4, 3, 4, 8}), weight(scale, {3}), y);
  EXPECT_EQ(std::vector<float>(y.data, y.data + 6), (std::vector<float>{3, -1, 3, 16, 6, 14}));
}

TEST(CpuBackend, TokenEmbedTakesNegativeIdsFromThePicture) {
  Bench bench;
  const std::vector<float> table{0, 0, 1, 1, 2, 2};
  const Matrix images = bench.matrix(2, 2, {7, 7, 8, 8});
  const Matrix y = bench.matrix(4, 2);
  const std::vector<std::int32_t> ids{2, -1, -2, 0};
  bench.backend->token_embed(bench.exec, {ids, {}}, weight(table, {3, 2}), images, y);
  EXPECT_EQ(std::vector<float>(y.data, y.data + 8), (std::vector<float>{2, 2, 7, 7, 8, 8, 0, 0}));
}

/// Largest difference between rounded and exact products, relative to the largest product.
double rounding_error(std::int64_t m, std::int64_t n, std::int64_t k) {
  const Grouped format{4, 32, DType::f16, GroupOffset::none, {}};
  const WeightFormat stored(format);
  const auto values = random_floats(static_cast<std::size_t>(n * k), 1);
  std::vector<std::byte> bytes(static_cast<std::size_t>(n) * stored.row_bytes(k));
  for (std::int64_t row = 0; row < n; ++row) {
    const auto begin = static_cast<std::size_t>(row);
    EXPECT_TRUE(encode_row(
        format, std::span(values).subspan(begin * static_cast<std::size_t>(k), static_cast<std::size_t>(k)),
        std::span(bytes).subspan(begin * stored.row_bytes(k), stored.row_bytes(k))));
  }
  auto x = random_floats(static_cast<std::size_t>(m * k), 2);
  for (std::size_t i = 5; i < x.size(); i += 32) x[i] *= 50;  // few large numbers among others
  Bench bench;
  const Matrix from = bench.matrix(m, k, x);
  const Matrix exact = bench.matrix(m, n), rounded = bench.matrix(m, n);
  const Weight w{bytes.data(), stored, {n, k}};
  bench.backend->linear(bench.exec, from, w, {}, exact);
  make_cpu_backend(2, Products::rounded)->linear(bench.exec, from, w, {}, rounded);
  double largest = 0, difference = 0;
  for (std::int64_t i = 0; i < m * n; ++i) {
    largest = std::max(largest, std::abs(static_cast<double>(exact.data[i])));
    difference = std::max(difference, std::abs(static_cast<double>(exact.data[i]) - rounded.data[i]));
  }
  return difference / largest;
}

TEST(CpuBackend, LargeNumbersCostTheirNeighboursNoPrecisionWhereAProductNarrows) {
  for (const std::int64_t m : {1, 5}) {
    // BF16 rounds each number by itself: neighbours lose nothing, and all as much.
    const bool bf16 = m > kernels::linear_few_rows && choose_kernels().bf16_beats_int8;
    EXPECT_GT(rounding_error(m, 96, 64), 1e-4) << "rows: " << m;  // is rounded at all
    EXPECT_LT(rounding_error(m, 40, 150), bf16 ? 1.0 / 256 : 1e-4) << "rows: " << m;
  }
}

TEST(CpuBackend, TwoSequencesOfAStepDoNotSeeEachOther) {
  Bench bench;
  const Heads heads{2, 1, 4, 0.5F};
  LayerPages pages{nullptr, 2 * 16 * 4 * sizeof(float), 16, DType::f32};
  std::vector<float> storage(4 * 2 * 16 * 4);
  pages.base = reinterpret_cast<std::byte*>(storage.data());
  const std::int64_t first = 20, second = 3;  // tokens; the first crosses a page border
  const auto q = random_floats(static_cast<std::size_t>((first + second) * 8), 1);
  const auto k = random_floats(static_cast<std::size_t>((first + second) * 4), 2);
  const auto v = random_floats(static_cast<std::size_t>((first + second) * 4), 3);
  const std::vector<PageId> first_pages{3, 0};
  const std::vector<PageId> second_pages{2};
  const std::vector<SequenceRows> sequences{{0, first, 0, first_pages}, {first, second, 0, second_pages}};
  const Matrix out = bench.matrix(first + second, 8);
  bench.backend->append_kv(bench.exec, bench.matrix(first + second, 4, k), bench.matrix(first + second, 4, v),
                           {{}, sequences}, heads, pages);
  bench.backend->attend_pages(bench.exec, bench.matrix(first + second, 8, q), {{}, sequences}, pages, heads,
                              out);
  for (const SequenceRows& rows : sequences) {
    for (std::int64_t i = 0; i < rows.n_rows; ++i) {
      const std::int64_t row = rows.first_row + i;
      for (std::int64_t head = 0; head < 2; ++head) {
        const auto expected =
            kernels::reference::attend(q.data() + row * 8 + head * 4, k.data() + rows.first_row * 4,
                                       v.data() + rows.first_row * 4, 4, i + 1, 4, 0.5);
        for (std::int64_t d = 0; d < 4; ++d) {
          ASSERT_NEAR(out.row(row)[head * 4 + d], expected[static_cast<std::size_t>(d)], 1e-6);
        }
      }
    }
  }
}

/// Sets GALAGO_ISA for as long as it lives.
class ForcedIsa {
 public:
  explicit ForcedIsa(const char* name) { setenv("GALAGO_ISA", name, 1); }
  ~ForcedIsa() { unsetenv("GALAGO_ISA"); }
};

TEST(KernelChoice, IsTheWidestThatTheMachineRuns) {
  EXPECT_STREQ(choose_kernels().name, runnable_kernels().back()->name);
  EXPECT_STREQ(runnable_kernels().front()->name, "portable");
}

TEST(KernelChoice, CanBeForced) {
  const ForcedIsa forced("portable");
  EXPECT_STREQ(choose_kernels().name, "portable");
  EXPECT_EQ(make_cpu_backend(1)->description(), "portable, 1 thread");
}

TEST(KernelChoice, AForcedSetThatIsNotThereFailsLoudly) {
  const ForcedIsa forced("avx9000");
  try {
    choose_kernels();
    FAIL() << "an unknown set was taken";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::usage);
    EXPECT_NE(std::string(error.what()).find("portable"), std::string::npos)
        << "what the machine has is named";
  }
}

}  // namespace
}  // namespace galago::backend
