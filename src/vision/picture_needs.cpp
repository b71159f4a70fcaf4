// What a picture file asks for, read from its header alone. Files that cannot be told are left to the
// decoder, which says what is wrong with them.
#include <algorithm>
#include <array>
#include <cstring>
#include <optional>
#include <string_view>
#include <system_error>
#include <vector>

#include "base/file_reader.h"
#include "galago/error.h"
#include "galago/image.h"
#include "vision/exif.h"
#include "vision/process.h"

namespace galago {
namespace {

constexpr std::uint64_t n_channels = 3;

/// The beginning of a file, a few bytes at a time.
class Header {
 public:
  explicit Header(const std::filesystem::path& path)
      : reader_(path), size_(std::filesystem::file_size(path)) {}

  std::uint64_t size() const { return size_; }
  bool has(std::uint64_t at, std::uint64_t count) const { return at <= size_ && count <= size_ - at; }
  /// `count` bytes; nothing where the file ends before.
  std::vector<std::uint8_t> read(std::uint64_t at, std::uint64_t count) const {
    if (!has(at, count)) return {};
    std::vector<std::uint8_t> bytes(count);
    reader_.read(at, std::as_writable_bytes(std::span(bytes)));
    return bytes;
  }

 private:
  FileReader reader_;
  std::uint64_t size_;
};

std::uint64_t big(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0;
  for (const std::uint8_t byte : bytes) value = value << 8 | byte;
  return value;
}

std::uint64_t little(std::span<const std::uint8_t> bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | bytes[i];
  return value;
}

PictureNeeds needs(std::uint64_t width, std::uint64_t height, std::uint64_t bytes) {
  return {static_cast<std::int64_t>(width), static_cast<std::int64_t>(height), bytes};
}

/// What a JPEG's segments say before its data begins.
struct JpegHeader {
  std::vector<std::uint8_t> frame;  // of the SOF segment
  bool progressive = false;
  std::size_t scan_components = 0;
  int orientation = 1;
};

JpegHeader read_jpeg(const Header& file) {
  constexpr std::uint8_t app1 = 0xe1, start_of_scan = 0xda;
  JpegHeader header;
  for (std::uint64_t at = 2; file.has(at, 5);) {
    const std::vector<std::uint8_t> start = file.read(at, 5);
    const std::uint8_t marker = start[1];
    if (start[0] != 0xff) break;
    if (marker == 0xff) {  // a fill byte
      ++at;
      continue;
    }
    const std::uint64_t length = big(std::span(start).subspan(2, 2));
    const bool is_frame =
        marker >= 0xc0 && marker <= 0xcf && marker != 0xc4 && marker != 0xc8 && marker != 0xcc;
    if (is_frame) header.frame = file.read(at + 4, std::max<std::uint64_t>(length, 2) - 2);
    if (is_frame) header.progressive = (marker & 3) == 2;
    if (marker == app1 && length > 8) {
      const std::vector<std::uint8_t> data = file.read(at + 4, length - 2);
      if (data.size() > 6 && std::memcmp(data.data(), "Exif\0\0", 6) == 0) {
        header.orientation = vision::exif_orientation(std::span(data).subspan(6));
      }
    }
    if (marker == start_of_scan) {
      header.scan_components = start[4];
      break;
    }
    at += 2 + std::max<std::uint64_t>(length, 2);
  }
  return header;
}

/// libjpeg keeps the coefficients of pictures whose components come one after the other, or bit by bit.
std::uint64_t coefficient_bytes(std::span<const std::uint8_t> frame, std::uint64_t width,
                                std::uint64_t height) {
  constexpr std::uint64_t block = 8, coefficient = 2;
  std::uint64_t most_across = 1, most_down = 1;
  const std::size_t n_components = frame[5];
  for (std::size_t i = 0; i < n_components; ++i) {
    most_across = std::max<std::uint64_t>(most_across, frame[6 + 3 * i + 1] >> 4);
    most_down = std::max<std::uint64_t>(most_down, frame[6 + 3 * i + 1] & 15);
  }
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < n_components; ++i) {
    const std::uint64_t across = width * (frame[6 + 3 * i + 1] >> 4) / most_across + 2 * block * most_across;
    const std::uint64_t down = height * (frame[6 + 3 * i + 1] & 15) / most_down + 2 * block * most_down;
    bytes += across * down * coefficient;
  }
  return bytes;
}

std::optional<PictureNeeds> jpeg_needs(const Header& file, const DecodeOptions& options) {
  const JpegHeader header = read_jpeg(file);
  const std::span<const std::uint8_t> frame = header.frame;
  if (frame.size() < 6 || frame.size() < 6 + 3 * std::size_t{frame[5]}) return std::nullopt;
  const std::uint64_t height = big(frame.subspan(1, 2)), width = big(frame.subspan(3, 2));
  const std::uint64_t rows = 256 * width + (1 << 17);  // rows in work, tables
  std::uint64_t bytes = file.size() + n_channels * width * height + rows;
  if (header.progressive || header.scan_components < frame[5])
    bytes += coefficient_bytes(frame, width, height);
  const bool turned = options.exif == ExifOrientation::apply && header.orientation != 1;
  if (!turned) return needs(width, height, bytes);
  bytes = std::max(bytes, file.size() + 2 * n_channels * width * height);
  return header.orientation >= 5 ? needs(height, width, bytes) : needs(width, height, bytes);
}

std::optional<PictureNeeds> png_needs(const Header& file) {
  const std::vector<std::uint8_t> header = file.read(16, 10);
  if (header.empty()) return std::nullopt;
  const std::span<const std::uint8_t> bytes = header;
  const std::uint64_t width = big(bytes.first(4)), height = big(bytes.subspan(4, 4));
  if (width > 1U << 24 || height > 1U << 24) return std::nullopt;
  const std::uint64_t sample = bytes[8] == 16 ? 2 : 1;
  const std::uint64_t stored = bytes[9] == 6 ? 4 : bytes[9] == 2 ? 3 : bytes[9] == 4 ? 2 : 1;
  const std::uint64_t pixels = width * height;
  // Inflated rows beside the pixels made of them, or pixels beside their next form; twice the file and its
  // data besides, which grow by doubling.
  const std::uint64_t inflated = (pixels * stored + height) * sample;
  const std::uint64_t made = pixels * (stored + 1) * sample;
  const std::uint64_t forms =
      std::max({inflated + made, made + pixels * 4 * sample, 2 * n_channels * pixels});
  return needs(width, height, 4 * file.size() + forms + (1 << 17));
}

std::optional<PictureNeeds> bmp_needs(const Header& file) {
  const std::vector<std::uint8_t> header = file.read(14, 16);
  if (header.empty()) return std::nullopt;
  const std::span<const std::uint8_t> bytes = header;
  const bool old_header = little(bytes.first(4)) == 12;
  const std::uint64_t width = little(bytes.subspan(4, old_header ? 2 : 4));
  const auto stored = static_cast<std::int32_t>(little(bytes.subspan(8, 4)));
  const std::uint64_t height = old_header
                                   ? little(bytes.subspan(6, 2))
                                   : static_cast<std::uint64_t>(std::abs(static_cast<std::int64_t>(stored)));
  if (width > 1U << 24 || height > 1U << 24) return std::nullopt;
  return needs(width, height, file.size() + (4 + n_channels) * width * height + (1 << 17));
}

std::optional<PictureNeeds> gif_needs(const Header& file) {
  const std::vector<std::uint8_t> header = file.read(6, 4);
  if (header.empty()) return std::nullopt;
  const std::span<const std::uint8_t> bytes = header;
  const std::uint64_t width = little(bytes.first(2)), height = little(bytes.subspan(2, 2));
  // Two frames in four channels, a mark a pixel, and the three channels that come out.
  return needs(width, height, 2 * file.size() + (4 + 4 + 1 + n_channels) * width * height + (1 << 17));
}

}  // namespace

std::optional<PictureNeeds> picture_needs(const std::filesystem::path& path, const DecodeOptions& options) {
  try {
    std::error_code error;
    if (!std::filesystem::is_regular_file(path, error)) return std::nullopt;
    const Header file(path);
    const std::vector<std::uint8_t> first = file.read(0, 6);
    const std::string_view magic(reinterpret_cast<const char*>(first.data()), first.size());
    std::optional<PictureNeeds> found;
    if (magic.substr(0, 3) == "\xff\xd8\xff") found = jpeg_needs(file, options);
    if (magic.substr(0, 4) == "\x89PNG") found = png_needs(file);
    if (magic.substr(0, 2) == "BM") found = bmp_needs(file);
    if (magic.substr(0, 3) == "GIF") found = gif_needs(file);
    if (!found || found->width < 1 || found->height < 1) return std::nullopt;
    // Larger ones are refused before they are decoded.
    const auto width = static_cast<std::uint64_t>(found->width);
    const auto height = static_cast<std::uint64_t>(found->height);
    if (width > options.limits.max_pixels / height) return std::nullopt;
    const std::uint64_t cutting = vision::cutting_bytes({found->width, found->height});
    found->bytes = std::max(found->bytes, n_channels * width * height + cutting);
    return found;
  } catch (const Error&) {
    return std::nullopt;
  } catch (const std::filesystem::filesystem_error&) {
    return std::nullopt;
  }
}

}  // namespace galago
