#include "size.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <iterator>
#include <locale>
#include <sstream>

#include <fmt/format.h>

#include "galago/error.h"

namespace galago::cli {
namespace {

struct Unit {
  std::string_view name;
  double bytes;
};

constexpr Unit units[] = {
    {"", 1},       {"B", 1},        {"K", 1024.0},   {"KiB", 1024.0}, {"KB", 1e3},
    {"M", 0x1p20}, {"MiB", 0x1p20}, {"MB", 1e6},     {"G", 0x1p30},   {"GiB", 0x1p30},
    {"GB", 1e9},   {"T", 0x1p40},   {"TiB", 0x1p40}, {"TB", 1e12},
};

const Unit* find_unit(std::string_view name) {
  for (const Unit& unit : units) {
    if (unit.name == name) return &unit;
  }
  return nullptr;
}

}  // namespace

std::uint64_t parse_size(std::string_view text, std::string_view option) {
  const std::size_t end = std::min(text.find_first_not_of("0123456789."), text.size());
  std::istringstream number{std::string(text.substr(0, end))};
  number.imbue(std::locale::classic());
  double value = 0;
  number >> value;
  const bool is_number = !number.fail() && (number.peek() == std::istringstream::traits_type::eof());
  const Unit* unit = find_unit(text.substr(end));
  const double bytes = is_number && unit ? std::floor(value * unit->bytes) : 0;
  if (!(bytes >= 1 && bytes < 0x1p63)) {
    throw Error(
        ErrorCode::usage,
        fmt::format("{} {}: not a size; write a number and a unit, such as 8GiB or 500MB", option, text));
  }
  return static_cast<std::uint64_t>(bytes);
}

PictureSize parse_picture_size(const std::string& text) {
  PictureSize size;
  const char* const end = text.data() + text.size();
  const auto [middle, width_error] = std::from_chars(text.data(), end, size.width);
  if (width_error == std::errc() && middle != end && *middle == 'x') {
    const auto [rest, height_error] = std::from_chars(middle + 1, end, size.height);
    if (height_error == std::errc() && rest == end && size.width > 0 && size.height > 0) return size;
  }
  throw Error(ErrorCode::usage,
              fmt::format("--image-size {}: not a size; write width and height, such as 1344x672", text));
}

std::string size_text(std::uint64_t bytes) {
  constexpr const char* names[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024 && unit + 1 < std::size(names)) {
    value /= 1024;
    ++unit;
  }
  return unit == 0 ? fmt::format("{} bytes", bytes) : fmt::format("{:.2f} {}", value, names[unit]);
}

}  // namespace galago::cli
