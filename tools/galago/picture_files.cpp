#include "picture_files.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <filesystem>
#include <system_error>

#include <fmt/format.h>

namespace galago::cli {
namespace {

namespace fs = std::filesystem;

/// Also of pictures that cannot be read: in a folder they are told, not passed over.
bool is_picture_name(const fs::path& path) {
  constexpr std::array<std::string_view, 10> endings = {".jpg",  ".jpeg", ".png",  ".bmp",  ".gif",
                                                        ".webp", ".tif",  ".tiff", ".heic", ".avif"};
  std::string ending = path.extension().string();
  std::transform(ending.begin(), ending.end(), ending.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::find(endings.begin(), endings.end(), ending) != endings.end();
}

void add_folder(const std::string& folder, std::vector<PictureFile>& pictures) {
  std::vector<std::string> found;
  std::error_code error;
  auto entry = fs::recursive_directory_iterator(folder, error);
  while (!error && entry != fs::recursive_directory_iterator()) {
    std::error_code ignored;  // a file that vanishes meanwhile is no picture
    if (is_picture_name(entry->path()) && !entry->is_directory(ignored))
      found.push_back(entry->path().string());
    entry.increment(error);
  }
  if (error) pictures.push_back({folder, fmt::format("{}: cannot be read: {}", folder, error.message())});
  if (!error && found.empty()) {
    pictures.push_back(
        {folder, fmt::format("{}: no pictures in this folder (.jpg, .jpeg, .png, .bmp or .gif)", folder)});
  }
  std::sort(found.begin(), found.end());
  for (std::string& path : found) pictures.push_back({std::move(path), ""});
}

}  // namespace

std::vector<PictureFile> find_pictures(const std::vector<std::string>& arguments) {
  std::vector<PictureFile> pictures;
  for (const std::string& argument : arguments) {
    std::error_code ignored;
    if (fs::is_directory(argument, ignored)) {
      add_folder(argument, pictures);
    } else {
      pictures.push_back({argument, ""});
    }
  }
  return pictures;
}

}  // namespace galago::cli
