// A picture made up for measurements: as large as asked for and about as hard to decode as a photo.
#pragma once

#include <cstddef>
#include <vector>

#include "vision/resize.h"

namespace galago::vision {

/// A JPEG of quality 90. The same size gives the same bytes.
std::vector<std::byte> made_up_jpeg(Size size);

}  // namespace galago::vision
