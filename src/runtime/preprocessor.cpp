#include "runtime/preprocessor.h"

#include <algorithm>

#include "backend/cpu/kernel_choice.h"

namespace galago::runtime {
namespace {

/// The caller included.
int n_threads(const Configuration& configuration) {
  return std::min(configuration.host_threads, vision::most_workers);
}

}  // namespace

Preprocessor::Preprocessor(const vision::ImageProcessing& processing, const Configuration& configuration)
    : processing_(processing), pool_(n_threads(configuration)), workers_{pool_, backend::choose_kernels()} {}

void Preprocessor::fill(const Image& picture, std::int64_t first, std::span<float> pixels) {
  vision::process_tiles(picture, processing_, first, pixels, workers_);
}

Bytes Preprocessor::scratch_bytes(const vision::ImageProcessing& processing,
                                  const Configuration& configuration) {
  return static_cast<Bytes>(n_threads(configuration)) * vision::band_bytes(processing.tile);
}

}  // namespace galago::runtime
