// Decoding against Pillow's convert("RGB"), every way to refuse a file, and mutants of valid files.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

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
  EXPECT_GE(n_files, 30);
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

std::string big_u32(std::uint32_t value) {
  std::string bytes;
  for (int shift = 24; shift >= 0; shift -= 8) bytes += static_cast<char>(value >> shift);
  return bytes;
}

std::string png_chunk(const std::string& type, const std::string& data) {
  std::uint32_t crc = 0xffffffffu;
  for (const char byte : type + data) {
    crc ^= static_cast<std::uint8_t>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc & 1) != 0 ? 0xedb88320u ^ crc >> 1 : crc >> 1;
  }
  return big_u32(static_cast<std::uint32_t>(data.size())) + type + data + big_u32(~crc);
}

TEST(Decode, PngOfTooLittleDataIsAnErrorThoughItsChecksumsAreRight) {
  for (const char* name : {"gray16.png", "exif1.png"}) {
    const std::string whole = read(formats / name);
    const std::size_t data = whole.find("IDAT") + 4, end = whole.find("IEND") - 8;
    for (std::size_t n_missing = 0; n_missing <= end - data; ++n_missing) {
      const std::string mutant = whole.substr(0, data - 8) +
                                 png_chunk("IDAT", whole.substr(data, end - data - n_missing)) +
                                 png_chunk("IEND", "");
      // The last four bytes are zlib's checksum, and up to two more end its last block: no pixel is lost.
      if (n_missing == 0) {
        EXPECT_EQ(refusal(mutant), "") << name;
      }
      if (n_missing > 6) {
        EXPECT_NE(refusal(mutant), "") << name << " less " << n_missing;
      }
    }
  }
}

TEST(Decode, GifPictureBeyondItsScreenIsRefused) {
  std::string gif = read(formats / "small_frame.gif");
  const std::size_t frame = gif.find(std::string(",\4\0\2\0", 5));
  ASSERT_NE(frame, std::string::npos);
  gif[frame + 1] = 7;  // 7 + 17 columns on a screen of 23
  expect_part(refusal(gif), "GIF file is damaged");
}

/// A JPEG file that carries these bytes as its EXIF block.
std::string with_exif(const std::string& tiff) {
  const std::string whole = read(formats / "gray.jpg");
  const std::string block = "Exif" + std::string(2, '\0') + tiff;
  const std::size_t length = block.size() + 2;
  return whole.substr(0, 2) + "\xff\xe1" + static_cast<char>(length >> 8) + static_cast<char>(length & 0xff) +
         block + whole.substr(2);
}

TEST(Decode, MalformedExifLeavesThePictureAsStored) {
  const std::string good("MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0", 26);
  EXPECT_EQ(decode(with_exif(good)).width(), 11);  // turned: the blocks below differ by their damage alone
  std::vector<std::string> blocks;
  for (std::size_t size = 0; size < 22; ++size) blocks.push_back(good.substr(0, size));
  const auto damaged = [&](std::size_t at, const std::string& bytes) {
    blocks.push_back(good);
    blocks.back().replace(at, bytes.size(), bytes);
  };
  damaged(0, "II");                // the other byte order
  damaged(3, "+");                 // not TIFF
  damaged(4, "\xff\xff\xff\xff");  // a directory beyond the end
  damaged(4, std::string("\0\0\0\x19", 4));
  damaged(8, std::string("\0\0", 2));           // no entries
  damaged(12, std::string("\0\4", 2));          // another type
  damaged(17, "\2");                            // two values
  damaged(19, "\x09");                          // no such orientation
  damaged(10, std::string("\x01\x11\0\3", 4));  // another tag
  for (const std::string& block : blocks) {
    const Image image = decode(with_exif(block));
    EXPECT_EQ(image.width(), 17);
    EXPECT_EQ(image.height(), 11);
  }
}

TEST(LoadImage, FileWithoutPermissionIsAnError) {
  const auto path =
      std::filesystem::temp_directory_path() / ("galago-unreadable-" + std::to_string(::getpid()) + ".png");
  std::filesystem::copy_file(formats / "exif1.png", path);
  std::filesystem::permissions(path, std::filesystem::perms::none);
  // Root may read everything, so a child without privileges tries. It leaves by _exit: no test goes on in it.
  const pid_t child = ::fork();
  if (child == 0) {
    constexpr uid_t nobody = 65534;
    if (::geteuid() == 0 && ::setuid(nobody) != 0) ::_exit(2);
    try {
      load_image(path);
    } catch (const Error& error) {
      const std::string message = error.what();
      const bool is_named = message.find(path.string()) != std::string::npos;
      ::_exit(error.code() == ErrorCode::input && is_named ? 0 : 3);
    }
    ::_exit(1);
  }
  ASSERT_GT(child, 0);
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  std::filesystem::remove(path);
  ASSERT_TRUE(WIFEXITED(status));
  if (WEXITSTATUS(status) == 2) GTEST_SKIP() << "privileges cannot be dropped here";
  EXPECT_EQ(WEXITSTATUS(status), 0) << "1: the file was read; 3: another error";
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
