// Pictures to pixel values, a batch of tiles at a time, on threads of its own.
#pragma once

#include <cstdint>
#include <span>

#include "base/thread_pool.h"
#include "runtime/plan/configuration.h"
#include "tensor/dtype.h"
#include "vision/process.h"

namespace galago::runtime {

class Preprocessor {
 public:
  /// `processing` outlives the object.
  Preprocessor(const vision::ImageProcessing& processing, const Configuration& configuration);

  /// Fills `pixels` with the picture's tiles from `first` on, and returns when that is done. A device that
  /// was given work before goes on with it meanwhile.
  void fill(const Image& picture, std::int64_t first, std::span<float> pixels);

  /// What all threads together work in, but for lines and coefficients of the picture
  /// (vision::cutting_bytes).
  static Bytes scratch_bytes(const vision::ImageProcessing& processing, const Configuration& configuration);

 private:
  const vision::ImageProcessing& processing_;
  ThreadPool pool_;
  vision::Workers workers_;
};

}  // namespace galago::runtime
