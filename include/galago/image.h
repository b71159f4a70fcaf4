// Pictures: 8-bit RGB, from a file, from bytes or from the caller's own pixels.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace galago {

/// A picture of 8-bit RGB pixels, [height, width, 3], row by row. Never empty; copies copy the pixels.
class Image {
 public:
  std::int64_t width() const noexcept { return width_; }
  std::int64_t height() const noexcept { return height_; }
  std::span<const std::uint8_t> pixels() const noexcept { return pixels_; }

 private:
  friend Image make_image(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> pixels);
  Image(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> pixels)
      : width_(width), height_(height), pixels_(std::move(pixels)) {}

  std::int64_t width_;
  std::int64_t height_;
  std::vector<std::uint8_t> pixels_;
};

/// What a picture may ask of memory; checked against its header before anything is decoded.
struct ImageLimits {
  std::uint64_t max_pixels = 178'956'970;  ///< where Pillow refuses too; decoded it is half a gigabyte
  std::uint64_t max_side = 262'144;        ///< four times the longest JPEG; bounds the resampling tables
  std::uint64_t max_file_bytes = std::uint64_t{1} << 30;  ///< more than such a picture has uncompressed
};

enum class ExifOrientation { apply, ignore };

struct DecodeOptions {
  ImageLimits limits;
  ExifOrientation exif = ExifOrientation::apply;
};

/// What a picture file's header says of it: its size as it is shown, and the most memory that load_image()
/// takes for it, the pixels included.
struct PictureNeeds {
  std::int64_t width = 0;
  std::int64_t height = 0;
  std::uint64_t bytes = 0;
};

/// Nothing for files whose header cannot be read, or that load_image() refuses by their size.
std::optional<PictureNeeds> picture_needs(const std::filesystem::path& path,
                                          const DecodeOptions& options = {});

/// Reads a JPEG, PNG, BMP or GIF (its first frame). Throws Error(ErrorCode::input) naming the file.
Image load_image(const std::filesystem::path& path, const DecodeOptions& options = {});

/// The same from memory; `name` is what error messages call the picture.
Image decode_image(std::span<const std::byte> bytes, std::string_view name,
                   const DecodeOptions& options = {});

/// Takes over RGB pixels, [height, width, 3]. Throws Error(ErrorCode::input) where the sizes do not agree.
Image make_image(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> pixels);

}  // namespace galago
