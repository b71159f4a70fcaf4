// The one place where stb_image is compiled; only the formats that are read through it.
#include "vision/stb_sources.h"

#include <climits>
#include <cstdlib>

namespace {

/// The cap of the decoding in progress on this thread; stb_image offers no other way to pass one.
thread_local std::size_t allocation_cap = 0;

void* capped_malloc(std::size_t n_bytes) {
  return n_bytes <= allocation_cap ? std::malloc(n_bytes) : nullptr;
}
void* capped_realloc(void* old, std::size_t n_bytes) {
  return n_bytes <= allocation_cap ? std::realloc(old, n_bytes) : nullptr;
}

}  // namespace

#define STBI_MALLOC(n) capped_malloc(n)
#define STBI_REALLOC(p, n) capped_realloc(p, n)
#define STBI_FREE(p) std::free(p)
#define STBI_ONLY_PNG
#define STBI_ONLY_BMP
#define STBI_ONLY_GIF
#define STBI_NO_STDIO
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_MAX_DIMENSIONS (1 << 18)
#define STB_IMAGE_STATIC
#define STB_IMAGE_IMPLEMENTATION
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb/stb_image.h>
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

namespace galago::vision {
namespace {

/// Runs one of stb_image's loaders under the cap.
template <class T, class Load>
StbPicture<T> load(Load loader, std::span<const std::uint8_t> bytes, std::size_t max_allocation,
                   int channels) {
  StbPicture<T> picture;
  if (bytes.size() > INT_MAX) {
    picture.reason = "file too long";
    return picture;
  }
  allocation_cap = max_allocation;
  int stored_channels = 0;
  picture.pixels.reset(loader(bytes.data(), static_cast<int>(bytes.size()), &picture.width, &picture.height,
                              &stored_channels, channels));
  if (picture.pixels == nullptr) picture.reason = stbi_failure_reason();
  return picture;
}

}  // namespace

void StbFree::operator()(void* pixels) const {
  stbi_image_free(pixels);
}

StbPicture<std::uint8_t> stb_decode_rgb(std::span<const std::uint8_t> bytes, std::size_t max_allocation) {
  return load<std::uint8_t>(stbi_load_from_memory, bytes, max_allocation, 3);
}

StbPicture<std::uint16_t> stb_decode_gray16(std::span<const std::uint8_t> bytes, std::size_t max_allocation) {
  return load<std::uint16_t>(stbi_load_16_from_memory, bytes, max_allocation, 1);
}

}  // namespace galago::vision
