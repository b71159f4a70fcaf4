// Which of a decoder's layers are meant.
#pragma once

#include <cstdint>

namespace galago::model {

/// Layers that follow each other: [first, end).
struct LayerRange {
  std::int64_t first = 0;
  std::int64_t end = 0;

  std::int64_t count() const { return end - first; }
};

}  // namespace galago::model
