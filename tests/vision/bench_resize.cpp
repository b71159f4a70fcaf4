// How long pictures take to become pixel values: milliseconds of each case, the best of several, in the order
// that bench_resize.py names them.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "backend/cpu/kernel_choice.h"
#include "vision/process.h"
#include "vision/resize.h"

namespace galago::vision {
namespace {

constexpr Size landscape{4000, 3000}, portrait{3000, 4000};

Image noise(Size size) {
  std::uint32_t state = 1;
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(size.width * size.height * 3));
  for (std::uint8_t& value : pixels) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<std::uint8_t>(state >> 24);
  }
  return make_image(size.width, size.height, std::move(pixels));
}

template <class Work>
void measure(Work&& work) {
  double best = std::numeric_limits<double>::infinity();
  for (int round = 0; round < 5; ++round) {
    const auto start = std::chrono::steady_clock::now();
    work();
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  fmt::print("{:.3f}\n", best * 1e3);
}

void measure_resize(const Image& image, Size size) {
  measure([&] {
    const Resampling resampling({image, {image.width(), image.height()}}, size, Filter::bicubic, {0, 0, size},
                                backend::choose_kernels());
    Resampling::Scratch scratch(resampling, size.height);
    resampling.rows(0, size.height, scratch);
  });
}

/// All tiles, one after the other.
void measure_tiles(const Image& image, const ImageProcessing& processing, ThreadPool& pool) {
  const TilePlan plan = plan_tiles({image.width(), image.height()}, processing);
  std::vector<float> pixels(plan.tile_values());
  measure([&] {
    for (std::int64_t tile = 0; tile < plan.n_tiles(); ++tile) {
      process_tiles(image, processing, tile, pixels, {pool, backend::choose_kernels()});
    }
  });
}

void measure_all(int n_threads) {
  ImageProcessing five;
  five.tiling = Tiling::anyres;
  five.tile = {336, 336};
  five.canvases = {{672, 672}};
  ImageProcessing thirteen;
  thirteen.tiling = Tiling::dynamic;
  thirteen.tile = {448, 448};
  thirteen.max_grid_tiles = 12;
  thirteen.thumbnail = true;
  ThreadPool one(1), several(n_threads);
  for (const Size size : {landscape, portrait}) {
    const Image image = noise(size);
    measure_resize(image, {336, 336});
    measure_resize(image, size.width > size.height ? Size{672, 504} : Size{504, 672});
    for (ThreadPool* pool : {&one, &several}) {
      measure_tiles(image, five, *pool);
      measure_tiles(image, thirteen, *pool);
    }
  }
}

}  // namespace
}  // namespace galago::vision

int main(int argc, char** argv) {
  galago::vision::measure_all(argc > 1 ? std::stoi(argv[1]) : 2);
}
