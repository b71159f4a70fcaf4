// Pictures in the order of their files, the next one decoded while the model works on the present one.
#pragma once

#include <future>
#include <string>

#include "galago/image.h"

namespace galago::cli {

/// How many pictures are in memory: each at hand, or the next one, too.
enum class Lookahead { none, next_picture };

struct LoadedPicture {
  Image image;
  double seconds;  ///< that reading and decoding took
};

class PictureLoader {
 public:
  PictureLoader(const DecodeOptions& options, Lookahead lookahead)
      : options_(options), lookahead_(lookahead) {}

  /// The picture, from the thread that began it or now. Throws as load_image() does.
  LoadedPicture load(const std::string& path);
  /// Begins to load the picture on a thread of its own, unless nothing is to be looked ahead. What was begun
  /// before and not taken is let go.
  void begin(const std::string& path);

 private:
  DecodeOptions options_;
  Lookahead lookahead_;
  std::string begun_path_;
  std::future<LoadedPicture> begun_;  // waits for its thread when it is destroyed
};

}  // namespace galago::cli
