#include "picture_loader.h"

#include <chrono>

namespace galago::cli {
namespace {

LoadedPicture load_timed(const std::string& path, const DecodeOptions& options) {
  const auto start = std::chrono::steady_clock::now();
  Image image = load_image(path, options);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  return {std::move(image), taken.count()};
}

}  // namespace

LoadedPicture PictureLoader::load(const std::string& path) {
  if (begun_.valid() && begun_path_ == path) return begun_.get();
  begun_ = {};
  return load_timed(path, options_);
}

void PictureLoader::begin(const std::string& path) {
  begun_ = {};  // its memory first
  begun_path_ = path;
  begun_ = std::async(std::launch::async, [path, options = options_] { return load_timed(path, options); });
}

}  // namespace galago::cli
