// The detected set agrees with the operating system's.
#include "base/cpu_features.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

namespace galago {
namespace {

bool listed(const std::string& flag) {
  std::ifstream file("/proc/cpuinfo");
  std::string word;
  while (file >> word) {
    if (word == flag) return true;
  }
  return false;
}

TEST(CpuFeatures, AgreeWithTheOperatingSystem) {
  const CpuFeatures& features = cpu_features();
  EXPECT_EQ(features.avx2_fma_f16c, listed("avx2") && listed("fma") && listed("f16c"));
  EXPECT_EQ(features.avx512,
            listed("avx512f") && listed("avx512bw") && listed("avx512dq") && listed("avx512vl"));
  EXPECT_EQ(features.avx512_vnni, listed("avx512_vnni"));
  EXPECT_EQ(features.avx512_bf16, listed("avx512_bf16"));
}

TEST(CpuFeatures, NamesTheSet) {
  EXPECT_EQ(to_string(CpuFeatures{}), "none");
  EXPECT_EQ(to_string({.avx2_fma_f16c = true, .avx512_bf16 = true}), "avx2 avx512_bf16");
}

}  // namespace
}  // namespace galago
