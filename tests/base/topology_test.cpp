// Cores and nodes as told by a folder like /sys/devices/system, and by this machine's own.
#include "base/topology.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <thread>

namespace galago {
namespace {

class TopologyTest : public ::testing::Test {
 protected:
  void put(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((folder_ / path).parent_path());
    std::ofstream(folder_ / path) << text << '\n';
  }
  void put_processor(int processor, int package, int core) {
    const std::string folder = "cpu/cpu" + std::to_string(processor) + "/topology/";
    put(folder + "physical_package_id", std::to_string(package));
    put(folder + "core_id", std::to_string(core));
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path folder_ =
      std::filesystem::path(::testing::TempDir()) /
      (std::string("topology-") + ::testing::UnitTest::GetInstance()->current_test_info()->name());
};

TEST_F(TopologyTest, HardwareThreadsOfACoreAreOneCore) {
  // Two packages that number their cores alike; processors 4 to 7 are the second threads of 0 to 3.
  for (int processor = 0; processor < 8; ++processor)
    put_processor(processor, processor / 2 % 2, processor % 2);
  EXPECT_EQ(cores_of({0, 1, 2, 3, 4, 5, 6, 7}, folder_), (std::vector<Core>{{0, 4}, {1, 5}, {2, 6}, {3, 7}}));
  EXPECT_EQ(cores_of({1, 4, 5}, folder_), (std::vector<Core>{{1, 5}, {4}}));
}

TEST_F(TopologyTest, WithoutWordOfTheSystemEachProcessorIsACore) {
  put_processor(0, 0, 0);
  EXPECT_EQ(cores_of({0, 1}, folder_), (std::vector<Core>{{0}, {1}}));
}

TEST_F(TopologyTest, NodesAreThoseWithMemory) {
  EXPECT_EQ(memory_nodes(folder_), std::vector<int>{0});
  put("node/has_memory", "0-2,5");
  EXPECT_EQ(memory_nodes(folder_), (std::vector<int>{0, 1, 2, 5}));
  put("node/has_memory", "0-,x");
  EXPECT_EQ(memory_nodes(folder_), std::vector<int>{0});
}

TEST(UsableCores, AreAtLeastOneAndAtMostThoseThereAre) {
  EXPECT_GE(usable_cores(), 1);
  EXPECT_LE(usable_cores(), static_cast<int>(std::thread::hardware_concurrency()));
}

}  // namespace
}  // namespace galago
