// stb_image behind a cap on each of its allocations: it sizes some by what a file inflates to.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace galago::vision {

struct StbFree {
  void operator()(void* pixels) const;
};

template <class T>
struct StbPicture {
  std::unique_ptr<T, StbFree> pixels;  ///< null where stb_image refuses; `reason` says why
  int width = 0;
  int height = 0;
  const char* reason = "";
};

/// 8-bit RGB, [height, width, 3].
StbPicture<std::uint8_t> stb_decode_rgb(std::span<const std::uint8_t> bytes, std::size_t max_allocation);

/// 16-bit gray, [height, width].
StbPicture<std::uint16_t> stb_decode_gray16(std::span<const std::uint8_t> bytes, std::size_t max_allocation);

}  // namespace galago::vision
