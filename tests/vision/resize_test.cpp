// Resampling against Pillow, bit for bit; the expected bytes are made by tests/goldens/resize/make.py.
#include "vision/resize.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "backend/cpu/kernel_choice.h"

namespace galago::vision {
namespace {

Image noise(std::int64_t width, std::int64_t height) {
  auto state = static_cast<std::uint32_t>(width * 1000 + height);
  std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height * 3));
  for (std::uint8_t& value : pixels) {
    state = state * 1664525u + 1013904223u;
    value = static_cast<std::uint8_t>(state >> 24);
  }
  return make_image(width, height, std::move(pixels));
}

/// The window's pixels, with the kernels of every instruction set that this machine has, which agree.
std::vector<std::uint8_t> resize(const Canvas& canvas, Size size, Filter filter, const Window& window) {
  std::vector<std::uint8_t> first;
  for (const kernels::KernelTable* table : backend::runnable_kernels()) {
    const Resampling resampling(canvas, size, filter, window, *table);
    // Bands of a height that is no multiple of what kernels take at once.
    constexpr std::int64_t most_rows = 7;
    Resampling::Scratch scratch(resampling, most_rows);
    std::vector<std::uint8_t> pixels;
    for (std::int64_t row = 0; row < window.size.height; row += most_rows) {
      const auto band = resampling.rows(row, std::min(most_rows, window.size.height - row), scratch);
      pixels.insert(pixels.end(), band.begin(), band.end());
    }
    if (first.empty()) first = pixels;
    EXPECT_EQ(pixels, first) << table->name;
  }
  return first;
}

Filter filter_of(const std::string& name) {
  if (name == "bilinear") return Filter::bilinear;
  return name == "bicubic" ? Filter::bicubic : Filter::lanczos;
}

TEST(Resize, EqualsPillowBitForBit) {
  const std::string folder = GALAGO_GOLDENS_DIR "/resize/";
  std::ifstream cases_file(folder + "cases.json"), data_file(folder + "expected.bin", std::ios::binary);
  const auto cases = nlohmann::json::parse(cases_file);
  const std::string data{std::istreambuf_iterator<char>(data_file), std::istreambuf_iterator<char>()};
  std::size_t at = 0;
  for (const auto& entry : cases) {
    const Image image = noise(entry["in"][0], entry["in"][1]);
    const Size size{entry["out"][0], entry["out"][1]};
    const auto pixels =
        resize({image, {image.width(), image.height()}}, size, filter_of(entry["filter"]), {0, 0, size});
    ASSERT_LE(at + pixels.size(), data.size());
    EXPECT_EQ(std::memcmp(pixels.data(), data.data() + at, pixels.size()), 0) << entry.dump();
    at += pixels.size();
  }
  EXPECT_GE(cases.size(), 80u);
  EXPECT_EQ(at, data.size());
}

TEST(Resize, WindowIsThatPartOfTheWhole) {
  const Image image = noise(61, 47);
  const Canvas canvas{image, {61, 47}};
  for (const Size size : {Size{30, 70}, Size{70, 30}}) {  // the horizontal pass first, the vertical one first
    const auto whole = resize(canvas, size, Filter::bicubic, {0, 0, size});
    const auto part = resize(canvas, size, Filter::bicubic, {11, 20, {7, 9}});
    for (std::size_t y = 0; y < 9; ++y) {
      const std::size_t at = ((y + 20) * static_cast<std::size_t>(size.width) + 11) * 3;
      EXPECT_EQ(std::memcmp(part.data() + y * 21, whole.data() + at, 21), 0) << size.width << ' ' << y;
    }
  }
}

TEST(Resize, CanvasEqualsAPictureThatLooksLikeIt) {
  const Image image = noise(31, 47);
  const Canvas canvas{image, {61, 80}, 9, 21, {10, 200, 30}};
  std::vector<std::uint8_t> pixels;
  for (std::int64_t y = 0; y < 80; ++y) {
    for (std::int64_t x = 0; x < 61; ++x) {
      const bool is_inside = x >= 9 && x < 9 + 31 && y >= 21 && y < 21 + 47;
      const std::uint8_t* from =
          is_inside ? image.pixels().data() + ((y - 21) * 31 + x - 9) * 3 : canvas.colour.data();
      pixels.insert(pixels.end(), from, from + 3);
    }
  }
  const Image laid_out = make_image(61, 80, std::move(pixels));
  for (const Size size : {Size{20, 60}, Size{50, 20}}) {
    EXPECT_EQ(resize(canvas, size, Filter::lanczos, {0, 0, size}),
              resize({laid_out, {61, 80}}, size, Filter::lanczos, {0, 0, size}));
  }
}

}  // namespace
}  // namespace galago::vision
