// Every tensor of a checkpoint's files is used, ignored with its reason, or unknown; nothing is counted
// twice.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>

#include "galago/galago.h"

namespace galago {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

std::uint64_t bytes_of(const std::vector<InspectedTensor>& tensors) {
  std::uint64_t sum = 0;
  for (const InspectedTensor& tensor : tensors) sum += tensor.bytes;
  return sum;
}

/// The bytes of tensors in a folder's weights, their headers not counted.
std::uint64_t stored_bytes(const std::filesystem::path& folder) {
  std::uint64_t sum = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    const auto& path = entry.path();
    if (path.extension() != ".safetensors" || path.filename() == "golden.safetensors") continue;
    std::uint64_t header_bytes = 0;
    std::ifstream(path, std::ios::binary).read(reinterpret_cast<char*>(&header_bytes), 8);
    sum += entry.file_size() - 8 - header_bytes;
  }
  return sum;
}

TEST(Inspect, AccountsForEveryGolden) {
  int n_folders = 0;
  for (const auto& entry : std::filesystem::directory_iterator(goldens)) {
    if (!std::filesystem::exists(entry.path() / "config.json")) continue;
    SCOPED_TRACE(entry.path().filename());
    ++n_folders;
    const Inspection inspection = inspect_model(entry.path());
    EXPECT_TRUE(inspection.missing.empty()) << inspection.missing.front();
    EXPECT_TRUE(inspection.unknown.empty()) << inspection.unknown.front().name;
    EXPECT_EQ(bytes_of(inspection.used) + bytes_of(inspection.ignored), stored_bytes(entry.path()));
    const auto has_reason = [](const InspectedTensor& tensor) { return !tensor.note.empty(); };
    EXPECT_TRUE(std::all_of(inspection.ignored.begin(), inspection.ignored.end(), has_reason));
  }
  EXPECT_GE(n_folders, 28);
}

TEST(Inspect, AccountsForEveryByteOfTheWeights) {
  const Inspection inspection = inspect_model(goldens / "llava-1.5-original");
  EXPECT_EQ(inspection.family, "llava-1.5-original");
  EXPECT_TRUE(inspection.missing.empty());
  EXPECT_TRUE(inspection.unknown.empty());
  EXPECT_EQ(inspection.used.size() + inspection.ignored.size(), 82U);
  const std::uint64_t header = 8 + 10728;
  EXPECT_EQ(bytes_of(inspection.used) + bytes_of(inspection.ignored) + header,
            std::filesystem::file_size(goldens / "llava-1.5-original/model.safetensors"));
  for (const InspectedTensor& tensor : inspection.ignored) EXPECT_FALSE(tensor.note.empty()) << tensor.name;
  for (const InspectedTensor& tensor : inspection.used) EXPECT_FALSE(tensor.canonical.empty()) << tensor.name;
}

}  // namespace
}  // namespace galago
