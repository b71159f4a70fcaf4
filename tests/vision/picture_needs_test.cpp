// What a picture needs is told by its header, before a byte of it is decoded.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "checkpoint/scratch.h"
#include "galago/image.h"

namespace galago::vision {
namespace {

const std::filesystem::path images = std::filesystem::path(GALAGO_GOLDENS_DIR) / "images";

TEST(PictureNeeds, AreAtLeastThePixelsAndTheFileOfEveryGolden) {
  int n_pictures = 0;
  for (const auto& entry : std::filesystem::directory_iterator(images)) {
    const std::string ending = entry.path().extension();
    if (ending != ".jpg" && ending != ".png") continue;
    SCOPED_TRACE(entry.path());
    const auto needs = picture_needs(entry.path());
    const Image image = load_image(entry.path());
    ASSERT_TRUE(needs);
    EXPECT_EQ(needs->width, image.width());
    EXPECT_EQ(needs->height, image.height());
    EXPECT_GE(needs->bytes, image.pixels().size() + entry.file_size());
    ++n_pictures;
  }
  EXPECT_GT(n_pictures, 5);
}

TEST(PictureNeeds, FollowTheExifOrientationOnlyWhereItIsApplied) {
  const auto applied = picture_needs(images / "exif6.jpg");
  const auto ignored = picture_needs(images / "exif6.jpg", {{}, ExifOrientation::ignore});
  ASSERT_TRUE(applied && ignored);
  EXPECT_EQ(applied->width, ignored->height);
  EXPECT_GE(applied->bytes, ignored->bytes);
}

TEST(PictureNeeds, AreNotToldOfWhatIsNoPictureIsCutOffOrTooLarge) {
  const test::Scratch scratch;
  EXPECT_FALSE(picture_needs(scratch / "missing.jpg"));
  EXPECT_FALSE(picture_needs(scratch.path()));
  test::write_text(scratch / "text.png", "no picture at all");
  EXPECT_FALSE(picture_needs(scratch / "text.png"));
  std::ifstream file(images / "wide.jpg", std::ios::binary);
  std::string bytes(64, '\0');
  file.read(bytes.data(), 64);
  for (std::size_t n = 0; n <= bytes.size(); ++n) {
    test::write_text(scratch / "cut.jpg", bytes.substr(0, n));
    EXPECT_FALSE(picture_needs(scratch / "cut.jpg")) << n;
  }
  DecodeOptions small;
  small.limits.max_pixels = 100;
  EXPECT_FALSE(picture_needs(images / "wide.jpg", small));
}

}  // namespace
}  // namespace galago::vision
