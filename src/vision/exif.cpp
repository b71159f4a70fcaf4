// Reads tag 0x0112 of the first directory and applies its eight meanings.
#include "vision/exif.h"

#include <cstring>
#include <utility>

namespace galago::vision {
namespace {

/// Integers of a TIFF structure in its byte order; the caller checks `holds` first.
class Tiff {
 public:
  explicit Tiff(std::span<const std::uint8_t> bytes) : bytes_(bytes), little_endian_(bytes[0] == 'I') {}

  bool holds(std::uint64_t offset, std::uint64_t n_bytes) const {
    return offset <= bytes_.size() && n_bytes <= bytes_.size() - offset;
  }
  std::uint32_t u16(std::uint64_t at) const {
    const std::uint32_t first = bytes_[at], second = bytes_[at + 1];
    return little_endian_ ? first | second << 8 : first << 8 | second;
  }
  std::uint32_t u32(std::uint64_t at) const {
    return little_endian_ ? u16(at) | u16(at + 2) << 16 : u16(at) << 16 | u16(at + 2);
  }

 private:
  std::span<const std::uint8_t> bytes_;
  bool little_endian_;
};

}  // namespace

int exif_orientation(std::span<const std::uint8_t> tiff) {
  if (tiff.size() < 8) return 1;
  if (std::memcmp(tiff.data(), "II*\0", 4) != 0 && std::memcmp(tiff.data(), "MM\0*", 4) != 0) return 1;
  const Tiff file(tiff);
  const std::uint64_t directory = file.u32(4);
  if (!file.holds(directory, 2)) return 1;
  const std::uint32_t n_entries = file.u16(directory);
  for (std::uint64_t i = 0; i < n_entries; ++i) {
    const std::uint64_t entry = directory + 2 + 12 * i;
    if (!file.holds(entry, 12)) return 1;
    constexpr std::uint32_t orientation_tag = 0x0112, type_short = 3;
    if (file.u16(entry) != orientation_tag) continue;
    if (file.u16(entry + 2) != type_short || file.u32(entry + 4) != 1) return 1;
    const std::uint32_t value = file.u16(entry + 8);
    return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
  }
  return 1;
}

Decoded make_upright(Decoded picture) {
  const int orientation = std::exchange(picture.orientation, 1);
  if (orientation == 1) return picture;
  // What is done to a stored pixel's (x, y), in this order: swap the axes, then mirror left-right,
  // top-bottom.
  const bool swap = orientation >= 5;
  const bool mirror_x = orientation == 2 || orientation == 3 || orientation == 6 || orientation == 7;
  const bool mirror_y = orientation == 3 || orientation == 4 || orientation == 7 || orientation == 8;

  Decoded upright;
  upright.width = swap ? picture.height : picture.width;
  upright.height = swap ? picture.width : picture.height;
  upright.pixels.resize(picture.pixels.size());
  for (std::int64_t y = 0; y < upright.height; ++y) {
    const std::int64_t from_y = mirror_y ? upright.height - 1 - y : y;
    std::uint8_t* out = upright.pixels.data() + y * upright.width * 3;
    for (std::int64_t x = 0; x < upright.width; ++x, out += 3) {
      const std::int64_t from_x = mirror_x ? upright.width - 1 - x : x;
      const std::int64_t stored = swap ? from_x * picture.width + from_y : from_y * picture.width + from_x;
      std::memcpy(out, picture.pixels.data() + stored * 3, 3);
    }
  }
  return upright;
}

}  // namespace galago::vision
