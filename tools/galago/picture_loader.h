// Pictures in the order of their files, the next one decoded while the model works on the present one.
#pragma once

#include <future>
#include <string>

#include "galago/image.h"

namespace galago::cli {

struct LoadedPicture {
  Image image;
  double seconds;  ///< that reading and decoding took
};

class PictureLoader {
 public:
  explicit PictureLoader(const DecodeOptions& options) : options_(options) {}

  /// The picture, from the thread that began it or now. Throws as load_image() does.
  LoadedPicture load(const std::string& path);
  /// Begins to load the picture on a thread of its own. What was begun before and not taken is let go.
  void begin(const std::string& path);

 private:
  DecodeOptions options_;
  std::string begun_path_;
  std::future<LoadedPicture> begun_;  // waits for its thread when it is destroyed
};

}  // namespace galago::cli
