// PNG, BMP and GIF through stb_image. It is lenient with damage, so the files' structure is checked before.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <string>

#include "base/fail.h"
#include "vision/decode.h"
#include "vision/exif.h"
#include "vision/stb_sources.h"

namespace galago::vision {
namespace {

using Bytes = std::span<const std::uint8_t>;

std::uint32_t big_u32(Bytes b, std::size_t at) {
  return std::uint32_t{b[at]} << 24 | std::uint32_t{b[at + 1]} << 16 | std::uint32_t{b[at + 2]} << 8 |
         b[at + 3];
}
std::uint32_t little_u16(Bytes b, std::size_t at) {
  return b[at] | std::uint32_t{b[at + 1]} << 8;
}
std::uint32_t little_u32(Bytes b, std::size_t at) {
  return little_u16(b, at) | little_u16(b, at + 2) << 16;
}

[[noreturn]] void fail_cut_off(const Encoded& file, std::string_view format) {
  fail(ErrorCode::input, "{}: the {} file is cut off after {} bytes", file.name, format, file.bytes.size());
}

/// Room for what a format's decoder may hold at once: 16-bit RGBA, twice where it grows by doubling.
std::size_t max_allocation(std::uint64_t width, std::uint64_t height, std::size_t file_bytes) {
  constexpr std::size_t tables = std::size_t{1} << 20;
  return 2 * (8 * width * height + 8 * height + file_bytes) + tables;
}

template <class T>
void require_pixels(const StbPicture<T>& picture, const Encoded& file, std::string_view format,
                    std::uint64_t width, std::uint64_t height) {
  if (picture.pixels == nullptr) {
    fail(ErrorCode::input, "{}: the {} file is damaged or of an unknown kind ({})", file.name, format,
         picture.reason);
  }
  if (static_cast<std::uint64_t>(picture.width) != width ||
      static_cast<std::uint64_t>(picture.height) != height) {
    fail(ErrorCode::input, "{}: the {} file contradicts itself about the picture's size", file.name, format);
  }
}

Decoded decode_rgb(const Encoded& file, Bytes bytes, std::string_view format, std::uint64_t width,
                   std::uint64_t height) {
  const auto picture = stb_decode_rgb(bytes, max_allocation(width, height, bytes.size()));
  require_pixels(picture, file, format, width, height);
  const std::uint8_t* pixels = picture.pixels.get();
  return {picture.width, picture.height, {pixels, pixels + width * height * 3}};
}

/// Pillow takes 16-bit gray for numbers, not shades: what is above 255 is white.
Decoded decode_gray16(const Encoded& file, Bytes bytes, std::uint64_t width, std::uint64_t height) {
  const auto picture = stb_decode_gray16(bytes, max_allocation(width, height, bytes.size()));
  require_pixels(picture, file, "PNG", width, height);
  Decoded gray{picture.width, picture.height, {}};
  gray.pixels.resize(width * height * 3);
  for (std::size_t i = 0; i < width * height; ++i) {
    std::memset(gray.pixels.data() + 3 * i, std::min<int>(picture.pixels.get()[i], 255), 3);
  }
  return gray;
}

/// CRC-32 of a PNG chunk's type and data.
std::uint32_t crc32(Bytes bytes) {
  static const auto table = [] {
    std::array<std::uint32_t, 256> entries{};
    for (std::uint32_t i = 0; i < 256; ++i) {
      std::uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit) value = (value & 1) != 0 ? 0xedb88320u ^ value >> 1 : value >> 1;
      entries[i] = value;
    }
    return entries;
  }();
  std::uint32_t crc = 0xffffffffu;
  for (const std::uint8_t byte : bytes) crc = table[(crc ^ byte) & 0xff] ^ crc >> 8;
  return ~crc;
}

struct Png {
  std::uint64_t width = 0;
  std::uint64_t height = 0;
  int bit_depth = 0;
  int color_type = 0;
  int orientation = 1;
  std::vector<std::uint8_t>
      bytes;  // the chunks that matter, a short palette filled up with black as Pillow does
};

void append_chunk(std::vector<std::uint8_t>& out, Bytes chunk) {
  constexpr std::size_t palette_bytes = 768, around_data = 12;
  // stb_image would copy an empty IDAT to a null pointer.
  if (std::memcmp(chunk.data() + 4, "IDAT", 4) == 0 && chunk.size() == around_data) return;
  if (std::memcmp(chunk.data() + 4, "PLTE", 4) != 0 || chunk.size() >= palette_bytes + around_data) {
    out.insert(out.end(), chunk.begin(), chunk.end());
    return;
  }
  // stb_image reads indices beyond a short palette as they come, and checks no CRC.
  constexpr std::array<std::uint8_t, 4> length{0, 0, palette_bytes >> 8, palette_bytes & 0xff};
  out.insert(out.end(), length.begin(), length.end());
  out.insert(out.end(), chunk.begin() + 4, chunk.end() - 4);
  out.resize(out.size() + palette_bytes + around_data - chunk.size() + 4);
}

/// Walks the chunks to IEND and checks that each is whole.
Png check_png(const Encoded& file) {
  constexpr std::size_t signature_bytes = 8, around_data = 12;
  const Bytes b = file.bytes;
  Png png;
  png.bytes.assign(b.begin(), b.begin() + signature_bytes);
  for (std::size_t at = signature_bytes;;) {
    if (b.size() - at < around_data) fail_cut_off(file, "PNG");
    const std::uint32_t length = big_u32(b, at);
    if (length > b.size() - at - around_data) fail_cut_off(file, "PNG");
    const Bytes chunk = b.subspan(at, length + around_data);
    const std::string_view type(reinterpret_cast<const char*>(chunk.data()) + 4, 4);
    if (crc32(chunk.subspan(4, length + 4)) != big_u32(chunk, length + 8)) {
      fail(ErrorCode::input, "{}: the PNG file is damaged: a wrong checksum at byte {}", file.name, at);
    }
    if (at == signature_bytes) {
      if (type != "IHDR" || length != 13) fail(ErrorCode::input, "{}: the PNG file has no header", file.name);
      png.width = big_u32(chunk, 8);
      png.height = big_u32(chunk, 12);
      png.bit_depth = chunk[16];
      png.color_type = chunk[17];
      check_size(file, png.width, png.height);
    }
    if (type == "eXIf") png.orientation = exif_orientation(chunk.subspan(8, length));
    append_chunk(png.bytes, chunk);
    if (type == "IEND") return png;
    at += chunk.size();
  }
}

struct Gif {
  /// The file with transparency switched off: a transparent pixel has its palette colour then, as Pillow has
  /// it after convert("RGB").
  std::vector<std::uint8_t> bytes;
  std::size_t left = 0, top = 0, width = 0, height = 0;  // the first picture's place
  std::array<std::uint8_t, 3>
      ground{};  // Pillow fills what is around it with the transparent or first colour
};

/// Walks to the end of the first picture's data.
Gif check_gif(const Encoded& file) {
  const Bytes b = file.bytes;
  const auto need = [&](std::size_t at, std::size_t n_bytes) {
    if (at > b.size() || n_bytes > b.size() - at) fail_cut_off(file, "GIF");
  };
  const auto palette_bytes = [](std::uint8_t flags) -> std::size_t {
    return (flags & 0x80) != 0 ? std::size_t{3} << ((flags & 7) + 1) : 0;
  };
  Gif gif{.bytes = {b.begin(), b.end()}};
  constexpr std::size_t header_bytes = 13;
  std::size_t at = header_bytes;
  need(0, at);
  check_size(file, little_u16(b, 6), little_u16(b, 8));
  at += palette_bytes(b[10]);
  need(at, 0);
  Bytes palette = b.subspan(header_bytes, palette_bytes(b[10]));
  std::size_t ground_index = 0;
  for (bool is_picture = false; !is_picture;) {
    need(at, 2);
    is_picture = b[at] == 0x2c;
    if (is_picture) {
      need(at, 10);
      gif.left = little_u16(b, at + 1);
      gif.top = little_u16(b, at + 3);
      gif.width = little_u16(b, at + 5);
      gif.height = little_u16(b, at + 7);
      const std::size_t local_bytes = palette_bytes(b[at + 9]);
      need(at + 10, local_bytes);
      if (local_bytes != 0) palette = b.subspan(at + 10, local_bytes);
      at += 10 + local_bytes + 1;
    } else if (b[at] == 0x21) {
      need(at, 3);
      constexpr std::uint8_t graphic_control = 0xf9, graphic_control_bytes = 4;
      if (b[at + 1] == graphic_control && b[at + 2] == graphic_control_bytes) {
        need(at, 7);
        if ((b[at + 3] & 1) != 0) ground_index = b[at + 6];
        gif.bytes[at + 3] &= 0xfe;
      }
      at += 2;
    } else {
      fail(ErrorCode::input, "{}: the GIF file is damaged or holds no picture", file.name);
    }
    for (need(at, 1); b[at] != 0; need(at, 1)) at += std::size_t{b[at]} + 1;
    ++at;
  }
  if (3 * ground_index < palette.size()) {
    std::copy_n(palette.begin() + static_cast<std::ptrdiff_t>(3 * ground_index), 3, gif.ground.begin());
  }
  return gif;
}

void fill_around(const Gif& gif, Decoded& picture) {
  const auto width = static_cast<std::size_t>(picture.width);
  for (std::size_t i = 0; i < picture.pixels.size() / 3; ++i) {
    const std::size_t x = i % width, y = i / width;
    const bool is_inside =
        x >= gif.left && x < gif.left + gif.width && y >= gif.top && y < gif.top + gif.height;
    if (!is_inside) std::copy_n(gif.ground.begin(), 3, picture.pixels.data() + 3 * i);
  }
}

}  // namespace

Decoded decode_png(const Encoded& file) {
  const Png png = check_png(file);
  const bool gray16 = png.bit_depth == 16 && png.color_type == 0;
  Decoded picture = gray16 ? decode_gray16(file, png.bytes, png.width, png.height)
                           : decode_rgb(file, png.bytes, "PNG", png.width, png.height);
  picture.orientation = png.orientation;
  return picture;
}

Decoded decode_bmp(const Encoded& file) {
  const Bytes b = file.bytes;
  constexpr std::size_t old_header_end = 26, header_end = 34;
  if (b.size() < old_header_end) fail_cut_off(file, "BMP");
  const bool old_header = little_u32(b, 14) == 12;
  if (!old_header && b.size() < header_end) fail_cut_off(file, "BMP");
  const std::int64_t signed_height = static_cast<std::int32_t>(little_u32(b, 22));
  const std::uint64_t width = old_header ? little_u16(b, 18) : little_u32(b, 18);
  const std::uint64_t height =
      old_header ? little_u16(b, 20) : static_cast<std::uint64_t>(std::abs(signed_height));
  const std::uint64_t bits = little_u16(b, old_header ? 24 : 28);
  check_size(file, width, height);
  // Compression 1 and 2 are run lengths, which stb_image refuses by itself.
  const bool is_plain = old_header || little_u32(b, 30) == 0 || little_u32(b, 30) == 3;
  const std::uint64_t data_bytes = (width * bits + 31) / 32 * 4 * height;
  const std::uint64_t offset = little_u32(b, 10);
  if (is_plain && (offset > b.size() || data_bytes > b.size() - offset)) fail_cut_off(file, "BMP");
  return decode_rgb(file, b, "BMP", width, height);
}

Decoded decode_gif(const Encoded& file) {
  const Gif gif = check_gif(file);
  Decoded picture = decode_rgb(file, gif.bytes, "GIF", little_u16(gif.bytes, 6), little_u16(gif.bytes, 8));
  fill_around(gif, picture);
  return picture;
}

}  // namespace galago::vision
