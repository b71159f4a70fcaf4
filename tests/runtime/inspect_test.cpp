// Every tensor of a checkpoint's files is used, ignored with its reason, or unknown; nothing is counted
// twice.
#include <gtest/gtest.h>

#include <filesystem>

#include "galago/galago.h"

namespace galago {
namespace {

const std::filesystem::path goldens = GALAGO_GOLDENS_DIR;

std::uint64_t bytes_of(const std::vector<InspectedTensor>& tensors) {
  std::uint64_t sum = 0;
  for (const InspectedTensor& tensor : tensors) sum += tensor.bytes;
  return sum;
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
