// The picture files that the arguments of caption name.
#pragma once

#include <string>
#include <vector>

namespace galago::cli {

struct PictureFile {
  std::string path;
  std::string error;  ///< why the argument gives no picture; empty where it does
};

/// Files stay as they are; of folders, all pictures in them and below, sorted, by their file name's ending.
std::vector<PictureFile> find_pictures(const std::vector<std::string>& arguments);

}  // namespace galago::cli
