// JPEG through libjpeg-turbo, with Pillow's settings; damaged data is an error, not a half-grey picture.
#include <csetjmp>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>

// jpeglib.h needs <cstdio> before it.
#include <jerror.h>
#include <jpeglib.h>

#include "base/fail.h"
#include "vision/decode.h"
#include "vision/exif.h"

namespace galago::vision {
namespace {

/// A decompressor whose errors come back by longjmp. The functions that call setjmp keep no object with a
/// destructor of their own: everything owned lives here.
struct Jpeg {
  jpeg_decompress_struct decoder{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  std::jmp_buf on_error{};
  char message[JMSG_LENGTH_MAX] = {};
  std::vector<std::uint8_t> row;

  Jpeg() = default;
  Jpeg(const Jpeg&) = delete;
  Jpeg& operator=(const Jpeg&) = delete;
  ~Jpeg() { jpeg_destroy_decompress(&decoder); }
};

[[noreturn]] void leave(j_common_ptr decoder) {
  Jpeg& jpeg = *static_cast<Jpeg*>(decoder->client_data);
  jpeg.errors.format_message(decoder, jpeg.message);
  std::longjmp(jpeg.on_error, 1);
}

/// libjpeg goes on after damage and fills the rest with grey; only warnings that cost no pixel pass.
void on_message(j_common_ptr decoder, int level) {
  if (level >= 0) return;  // a trace, not a warning
  switch (decoder->err->msg_code) {
    case JWRN_ADOBE_XFORM:
    case JWRN_EXTRANEOUS_DATA:
    case JWRN_JFIF_MAJOR:
    case JWRN_TOO_MUCH_DATA:
      return;
    default:
      leave(decoder);
  }
}

/// A few bytes can announce thousands of progressive scans, each of which visits every pixel.
void on_progress(j_common_ptr decoder) {
  constexpr int max_scans = 200;
  Jpeg& jpeg = *static_cast<Jpeg*>(decoder->client_data);
  if (jpeg.decoder.input_scan_number <= max_scans) return;
  std::snprintf(jpeg.message, sizeof jpeg.message, "more than %d scans", max_scans);
  std::longjmp(jpeg.on_error, 1);
}

bool read_header(Jpeg& jpeg, std::span<const std::uint8_t> bytes) {
  jpeg.decoder.err = jpeg_std_error(&jpeg.errors);
  jpeg.decoder.client_data = &jpeg;
  jpeg.errors.error_exit = leave;
  jpeg.errors.emit_message = on_message;
  if (setjmp(jpeg.on_error) != 0) return false;  // NOLINT(modernize-avoid-setjmp-longjmp)
  jpeg_create_decompress(&jpeg.decoder);
  jpeg.progress.progress_monitor = on_progress;
  jpeg.decoder.progress = &jpeg.progress;
  jpeg_mem_src(&jpeg.decoder, bytes.data(), static_cast<unsigned long>(bytes.size()));
  jpeg_save_markers(&jpeg.decoder, JPEG_APP0 + 1, 0xffff);
  jpeg_read_header(&jpeg.decoder, TRUE);
  return true;
}

/// Pillow's MULDIV255 and its CMYK to RGB, on values that JPEG files store inverted.
void rgb_from_inverted_cmyk(const std::uint8_t* cmyk, std::uint8_t* rgb, std::size_t n_pixels) {
  for (std::size_t i = 0; i < n_pixels; ++i, cmyk += 4, rgb += 3) {
    const int white = cmyk[3];
    for (int c = 0; c < 3; ++c) {
      const int product = (255 - cmyk[c]) * white + 128;
      rgb[c] = static_cast<std::uint8_t>(white - (((product >> 8) + product) >> 8));
    }
  }
}

void rgb_from_gray(const std::uint8_t* gray, std::uint8_t* rgb, std::size_t n_pixels) {
  for (std::size_t i = 0; i < n_pixels; ++i) std::memset(rgb + 3 * i, gray[i], 3);
}

/// jpeg.row holds four bytes a pixel, pixels three.
bool read_rows(Jpeg& jpeg, std::uint8_t* pixels) {
  jpeg_decompress_struct& decoder = jpeg.decoder;
  if (setjmp(jpeg.on_error) != 0) return false;  // NOLINT(modernize-avoid-setjmp-longjmp)
  jpeg_start_decompress(&decoder);
  while (decoder.output_scanline < decoder.output_height) {
    std::uint8_t* out = pixels + std::size_t{decoder.output_scanline} * decoder.output_width * 3;
    JSAMPROW row = decoder.output_components == 3 ? out : jpeg.row.data();
    jpeg_read_scanlines(&decoder, &row, 1);
    if (decoder.output_components == 4) rgb_from_inverted_cmyk(row, out, decoder.output_width);
    if (decoder.output_components == 1) rgb_from_gray(row, out, decoder.output_width);
  }
  jpeg_finish_decompress(&decoder);
  return true;
}

int orientation_of(const jpeg_decompress_struct& decoder) {
  constexpr std::size_t prefix = 6;  // "Exif\0\0"
  for (jpeg_saved_marker_ptr marker = decoder.marker_list; marker != nullptr; marker = marker->next) {
    const std::span<const std::uint8_t> data(marker->data, marker->data_length);
    if (data.size() >= prefix && std::memcmp(data.data(), "Exif\0\0", prefix) == 0) {
      return exif_orientation(data.subspan(prefix));
    }
  }
  return 1;
}

}  // namespace

Decoded decode_jpeg(const Encoded& file) {
  Jpeg jpeg;
  if (!read_header(jpeg, file.bytes)) {
    fail(ErrorCode::input, "{}: the JPEG file is damaged or cut off ({})", file.name, jpeg.message);
  }
  jpeg_decompress_struct& decoder = jpeg.decoder;
  check_size(file, decoder.image_width, decoder.image_height);
  if (decoder.num_components != 1 && decoder.num_components != 3 && decoder.num_components != 4) {
    fail(ErrorCode::input, "{}: the JPEG file has {} colour components; 1, 3 or 4 were expected", file.name,
         decoder.num_components);
  }
  Decoded picture;
  picture.width = decoder.image_width;
  picture.height = decoder.image_height;
  picture.orientation = orientation_of(decoder);
  picture.pixels.resize(std::size_t{decoder.image_width} * decoder.image_height * 3);
  jpeg.row.resize(std::size_t{decoder.image_width} * 4);
  if (!read_rows(jpeg, picture.pixels.data())) {
    fail(ErrorCode::input, "{}: the JPEG file is damaged or cut off ({})", file.name, jpeg.message);
  }
  return picture;
}

}  // namespace galago::vision
