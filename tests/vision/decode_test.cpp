// Decoding against Pillow's convert("RGB"), every way to refuse a file, and mutants of valid files.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

#include "galago/error.h"
#include "galago/image.h"

namespace galago {
namespace {

const std::filesystem::path formats = GALAGO_GOLDENS_DIR "/formats";

std::string read(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

Image decode(const std::string& bytes, const DecodeOptions& options = {}) {
  return decode_image(std::as_bytes(std::span(bytes)), "picture", options);
}

/// The refusal's sentence; empty where there is none.
std::string refusal(const std::string& bytes) {
  try {
    decode(bytes);
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::input);
    return error.what();
  }
  return "";
}

void expect_part(const std::string& text, const std::string& part) {
  EXPECT_NE(text.find(part), std::string::npos) << '"' << text << "\" lacks \"" << part << '"';
}

TEST(Decode, EveryKindEqualsPillowWithExifApplied) {
  int n_files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(formats)) {
    if (entry.path().extension() != ".rgb") continue;
    const auto file = formats / entry.path().stem();
    const Image image = load_image(file);
    const std::string expected = read(entry.path());
    ASSERT_EQ(image.pixels().size(), expected.size()) << file;
    int worst = 0;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      worst = std::max(worst, std::abs(image.pixels()[i] - static_cast<std::uint8_t>(expected[i])));
    }
    EXPECT_EQ(worst, 0) << file;
    ++n_files;
  }
  EXPECT_GE(n_files, 28);
}

TEST(Decode, ExifIsIgnoredOnDemand) {
  DecodeOptions options;
  options.exif = ExifOrientation::ignore;
  EXPECT_EQ(load_image(formats / "exif6.jpg").width(), 11);
  EXPECT_EQ(load_image(formats / "exif6.jpg", options).width(), 17);
}

TEST(Decode, AnyCutIsAnError) {
  for (const char* name :
       {"exif1.png", "gray.jpg", "progressive.jpg", "cmyk.jpg", "rgb.bmp", "palette.bmp"}) {
    const std::string whole = read(formats / name);
    ASSERT_FALSE(whole.empty());
    for (std::size_t size = 0; size < whole.size(); ++size) {
      ASSERT_NE(refusal(whole.substr(0, size)), "") << name << " cut to " << size;
    }
  }
  const std::string gif = read(formats / "transparent.gif");
  for (std::size_t size = 0; size + 1 < gif.size(); ++size)
    ASSERT_NE(refusal(gif.substr(0, size)), "") << size;
}

TEST(Decode, JpegCutOffBeforeItsEndMarkerIsAnError) {
  const std::string whole = read(formats / "subsampled.jpg");
  expect_part(refusal(whole.substr(0, whole.size() - 40) + "\xff\xd9"), "damaged or cut off");
}

TEST(Decode, HugeSizesAreRefusedBeforeDecoding) {
  std::string bmp = read(formats / "rgb.bmp").substr(0, 100);
  for (const std::size_t at : {18, 22}) bmp.replace(at, 4, std::string("\x60\xea\0\0", 4));
  expect_part(refusal(bmp), "60000x60000");
  expect_part(refusal(bmp), "--max-pixels");
  DecodeOptions options;
  options.limits.max_pixels = 100;
  EXPECT_THROW(load_image(formats / "exif1.png", options), Error);
  EXPECT_THROW(load_image(formats / "exif1.jpg", options), Error);
  EXPECT_THROW(load_image(formats / "transparent.gif", options), Error);
  options = {};
  options.limits.max_file_bytes = 10;
  EXPECT_THROW(load_image(formats / "exif1.png", options), Error);
}

TEST(Decode, OtherFilesAreRefusedByName) {
  expect_part(refusal(""), "empty");
  expect_part(refusal("This is a text named .jpg"), "not a picture");
  expect_part(refusal(std::string("RIFF\x10\0\0\0WEBPVP8 ", 16)), "WebP");
  expect_part(refusal(std::string("\0\0\0\x1c"
                                  "ftypavif",
                                  12)),
              "AVIF");
  expect_part(refusal(std::string("\0\0\0\x1c"
                                  "ftypheic",
                                  12)),
              "HEIC");
  expect_part(refusal(std::string("II*\0", 4)), "TIFF");
  std::string damaged = read(formats / "exif1.png");
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 1);
  expect_part(refusal(damaged), "checksum");
}

TEST(LoadImage, MissingFilesAndDirectoriesAreNamed) {
  for (const auto& path : {formats / "nothing.png", formats, std::filesystem::path("/dev/null")}) {
    try {
      load_image(path);
      FAIL() << path;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::input);
      expect_part(error.what(), path.string());
    }
  }
}

TEST(MakeImage, RefusesPixelsThatDoNotFit) {
  EXPECT_EQ(make_image(2, 1, std::vector<std::uint8_t>(6)).width(), 2);
  EXPECT_THROW(make_image(2, 1, std::vector<std::uint8_t>(5)), Error);
  EXPECT_THROW(make_image(0, 1, {}), Error);
  EXPECT_THROW(make_image(std::int64_t{1} << 62, 4, {}), Error);
}

TEST(Decode, MutantsGiveAnImageOrAnError) {
  std::mt19937 random(7);
  DecodeOptions options;
  options.limits.max_pixels = 100'000;
  int n_images = 0;
  for (const char* name : {"exif6.png", "exif6.jpg", "progressive.jpg", "cmyk.jpg", "rgb.bmp", "palette.bmp",
                           "transparent.gif", "gray16.png"}) {
    const std::string whole = read(formats / name);
    for (int i = 0; i < 500; ++i) {
      std::string mutant = whole;
      for (std::uint32_t n = random() % 4 + 1; n > 0; --n) {
        mutant[random() % mutant.size()] = static_cast<char>(random());
      }
      try {
        const Image image = decode(mutant, options);
        EXPECT_LE(static_cast<std::uint64_t>(image.width() * image.height()), options.limits.max_pixels);
        ++n_images;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::input);
      }
    }
  }
  EXPECT_GT(n_images, 100);
}

}  // namespace
}  // namespace galago
