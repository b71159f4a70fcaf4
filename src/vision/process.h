// From a picture to the pixel values that a vision tower takes, as a checkpoint's description says.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "galago/image.h"
#include "kernels/cpu/kernels.h"
#include "vision/tiles.h"

namespace galago::vision {

/// Rows of a tile that one thread makes at once: few enough for its cache, and for all threads to have some;
/// at the seams rows of the picture are resampled twice.
inline constexpr std::int64_t band_rows = 32;
/// A tile has a dozen bands: more threads would each take memory and shorten little.
inline constexpr int most_workers = 8;
/// What a thread works in for a tile: sums and pixels of a band and of four rows.
constexpr std::uint64_t band_bytes(Size tile) {
  return 16 * static_cast<std::uint64_t>(band_rows * tile.width);
}
/// What `most_workers` threads take beside that, and coefficients do, for a picture of this size.
constexpr std::uint64_t cutting_bytes(Size picture) {
  return 256 * static_cast<std::uint64_t>(std::max(picture.width, picture.height));
}

/// Who does the work, and with which instructions.
struct Workers {
  ThreadPool& pool;
  const kernels::KernelTable& kernels;
};

/// Writes tiles of the picture's plan from `first` on, as many as `out` has room for, [n, 3, height, width].
/// Values are those of transformers' Pillow-backed processors, however many threads there are.
void process_tiles(const Image& image, const ImageProcessing& processing, std::int64_t first,
                   std::span<float> out, const Workers& workers);

}  // namespace galago::vision
