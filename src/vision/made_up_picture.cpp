#include "vision/made_up_picture.h"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>

// jpeglib.h needs <cstdio> before it.
#include <jpeglib.h>

namespace galago::vision {
namespace {

/// Waves of many lengths and a little noise, as photos have.
void draw_row(std::int64_t y, std::span<std::uint8_t> row, std::uint32_t& noise) {
  const auto fy = static_cast<float>(y);
  for (std::size_t x = 0; x < row.size() / 3; ++x) {
    const auto fx = static_cast<float>(x);
    const float broad = std::sin(fx * 0.011F) * std::cos(fy * 0.017F);
    const float fine = std::sin((fx + 2 * fy) * 0.13F);
    noise = noise * 1664525U + 1013904223U;
    const float grain = static_cast<float>(noise >> 24) / 16 - 8;
    row[3 * x] = static_cast<std::uint8_t>(128 + 80 * broad + 20 * fine + grain);
    row[3 * x + 1] = static_cast<std::uint8_t>(128 - 60 * broad + 30 * fine + grain);
    row[3 * x + 2] = static_cast<std::uint8_t>(120 + 50 * fine + grain);
  }
}

}  // namespace

std::vector<std::byte> made_up_jpeg(Size size) {
  jpeg_compress_struct encoder{};
  jpeg_error_mgr errors{};
  encoder.err = jpeg_std_error(&errors);
  jpeg_create_compress(&encoder);
  unsigned char* buffer = nullptr;
  unsigned long n_bytes = 0;
  jpeg_mem_dest(&encoder, &buffer, &n_bytes);
  encoder.image_width = static_cast<JDIMENSION>(size.width);
  encoder.image_height = static_cast<JDIMENSION>(size.height);
  encoder.input_components = 3;
  encoder.in_color_space = JCS_RGB;
  jpeg_set_defaults(&encoder);
  jpeg_set_quality(&encoder, 90, TRUE);
  jpeg_start_compress(&encoder, TRUE);
  std::vector<std::uint8_t> row(static_cast<std::size_t>(size.width) * 3);
  std::uint32_t noise = 1;
  for (std::int64_t y = 0; y < size.height; ++y) {
    draw_row(y, row, noise);
    JSAMPROW rows[] = {row.data()};
    jpeg_write_scanlines(&encoder, rows, 1);
  }
  jpeg_finish_compress(&encoder);
  jpeg_destroy_compress(&encoder);
  const std::unique_ptr<unsigned char, void (*)(void*)> owned(buffer, std::free);
  const auto bytes = std::as_bytes(std::span(buffer, n_bytes));
  return {bytes.begin(), bytes.end()};
}

}  // namespace galago::vision
