// From a file to an RGB picture: reading, telling formats apart by their first bytes, limits, orientation.
#include "vision/decode.h"

#include <algorithm>
#include <array>
#include <fstream>
#include <string>
#include <system_error>
#include <utility>

#include "base/fail.h"
#include "vision/exif.h"

namespace galago {
namespace {

using namespace std::string_view_literals;

struct Format {
  std::string_view magic;
  std::size_t at;  ///< where in the file the magic stands
  vision::Decoded (*decode)(const vision::Encoded&);
};

constexpr std::array<Format, 5> readable{{
    {"\xff\xd8\xff"sv, 0, vision::decode_jpeg},
    {"\x89PNG\r\n\x1a\n"sv, 0, vision::decode_png},
    {"BM"sv, 0, vision::decode_bmp},
    {"GIF87a"sv, 0, vision::decode_gif},
    {"GIF89a"sv, 0, vision::decode_gif},
}};

struct Unsupported {
  std::string_view magic;
  std::size_t at;
  std::string_view format;
};

constexpr std::array<Unsupported, 12> unsupported{{
    {"WEBP"sv, 8, "WebP"},
    {"ftypavif"sv, 4, "AVIF"},
    {"ftypavis"sv, 4, "AVIF"},
    {"ftyphei"sv, 4, "HEIC"},
    {"ftyphev"sv, 4, "HEIC"},
    {"ftypmif1"sv, 4, "HEIF"},
    {"ftypmsf1"sv, 4, "HEIF"},
    {"II*\0"sv, 0, "TIFF"},
    {"MM\0*"sv, 0, "TIFF"},
    {"\0\0\0\x0cJXL "sv, 0, "JPEG XL"},
    {"\xff\x0a"sv, 0, "JPEG XL"},
    {"\0\0\0\x0cjP  "sv, 0, "JPEG 2000"},
}};

bool has_magic(std::string_view bytes, std::string_view magic, std::size_t at) {
  return bytes.size() >= at + magic.size() && bytes.substr(at, magic.size()) == magic;
}

vision::Decoded decode_by_magic(const vision::Encoded& file) {
  const std::string_view bytes(reinterpret_cast<const char*>(file.bytes.data()), file.bytes.size());
  for (const Format& format : readable) {
    if (has_magic(bytes, format.magic, format.at)) return format.decode(file);
  }
  for (const Unsupported& format : unsupported) {
    if (has_magic(bytes, format.magic, format.at)) {
      fail(ErrorCode::input, "{}: the picture is {}, which is not read; convert it to JPEG or PNG", file.name,
           format.format);
    }
  }
  fail(ErrorCode::input, "{}: not a picture: JPEG, PNG, BMP or GIF was expected", file.name);
}

/// The file's bytes; never more than the limit, even of a file that grows while it is read.
std::vector<char> read_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
  const std::string name = path.string();
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (status.type() == std::filesystem::file_type::not_found) {
    fail(ErrorCode::input, "{}: there is no such file", name);
  }
  if (std::filesystem::is_directory(status)) {
    fail(ErrorCode::input, "{}: a picture file was expected, and this is a directory", name);
  }
  if (error) fail(ErrorCode::input, "{}: the file cannot be read: {}", name, error.message());
  if (!std::filesystem::is_regular_file(status)) {
    fail(ErrorCode::input, "{}: a picture file was expected, and this is not a regular file", name);
  }
  const std::uint64_t size = std::filesystem::file_size(path, error);
  std::ifstream file(path, std::ios::binary);
  if (error || !file) fail(ErrorCode::input, "{}: the file cannot be opened for reading", name);
  if (size > max_bytes) {
    fail(ErrorCode::input, "{}: the file has {} bytes, more than the limit of {}", name, size, max_bytes);
  }
  std::vector<char> bytes(size);
  file.read(bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<std::uint64_t>(file.gcount()) != size) {
    fail(ErrorCode::input, "{}: reading stopped after {} of {} bytes", name, file.gcount(), size);
  }
  return bytes;
}

}  // namespace

namespace vision {

void check_size(const Encoded& file, std::uint64_t width, std::uint64_t height) {
  if (width == 0 || height == 0) {
    fail(ErrorCode::input, "{}: the picture is empty: {}x{} pixels", file.name, width, height);
  }
  const ImageLimits& limits = file.limits;
  if (width > limits.max_side || height > limits.max_side) {
    fail(ErrorCode::input, "{}: the picture has {}x{} pixels, and a side may have {} at most", file.name,
         width, height, limits.max_side);
  }
  if (width > limits.max_pixels / height) {
    fail(ErrorCode::input,
         "{}: the picture has {}x{} pixels, more than the limit of {}; --max-pixels sets another", file.name,
         width, height, limits.max_pixels);
  }
}

}  // namespace vision

Image make_image(std::int64_t width, std::int64_t height, std::vector<std::uint8_t> pixels) {
  const std::uint64_t max_side = ImageLimits{}.max_side;
  if (width < 1 || height < 1 || static_cast<std::uint64_t>(width) > max_side ||
      static_cast<std::uint64_t>(height) > max_side) {
    fail(ErrorCode::input, "a picture of {}x{} pixels was given; a side has 1 to {}", width, height,
         max_side);
  }
  if (pixels.size() != static_cast<std::uint64_t>(width) * static_cast<std::uint64_t>(height) * 3) {
    fail(ErrorCode::input, "{} bytes were given for a picture of {}x{} RGB pixels, which has {}",
         pixels.size(), width, height, width * height * 3);
  }
  return Image(width, height, std::move(pixels));
}

Image decode_image(std::span<const std::byte> bytes, std::string_view name, const DecodeOptions& options) {
  if (bytes.empty()) fail(ErrorCode::input, "{}: the file is empty", name);
  // No limit that a caller sets may pass what the tables of make_image and the resampling hold.
  ImageLimits limits = options.limits;
  limits.max_side = std::min(limits.max_side, ImageLimits{}.max_side);
  if (bytes.size() > limits.max_file_bytes) {
    fail(ErrorCode::input, "{}: the file has {} bytes, more than the limit of {}", name, bytes.size(),
         limits.max_file_bytes);
  }
  const std::span<const std::uint8_t> data(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
  vision::Decoded picture = decode_by_magic({data, name, limits});
  if (options.exif == ExifOrientation::apply) picture = vision::make_upright(std::move(picture));
  return make_image(picture.width, picture.height, std::move(picture.pixels));
}

Image load_image(const std::filesystem::path& path, const DecodeOptions& options) {
  const std::vector<char> bytes = read_file(path, options.limits.max_file_bytes);
  return decode_image(std::as_bytes(std::span(bytes)), path.string(), options);
}

}  // namespace galago
