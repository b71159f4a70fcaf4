// Memory that control groups leave, as their files say it.
#include "runtime/plan/machine.h"

#include <gtest/gtest.h>

#include <limits>

#include "checkpoint/scratch.h"

namespace galago::runtime {
namespace {

using test::write_text;

TEST(ControlGroups, OfVersion2LimitByTheTightestOfThoseAGroupIsIn) {
  const test::Scratch scratch;
  write_text(scratch / "outer/memory.max", "1000");
  write_text(scratch / "outer/memory.current", "900");
  write_text(scratch / "outer/memory.stat", "anon 100\ninactive_file 300\n");
  write_text(scratch / "outer/inner/memory.max", "max");
  write_text(scratch / "membership", "0::/outer/inner\n");
  const GroupMemory memory = memory_of_groups(scratch.path(), scratch / "membership");
  EXPECT_EQ(memory.limit, 1000U);
  EXPECT_EQ(memory.available, 400U) << "300 of the 900 are pages of files, which go when memory is wanted";
}

TEST(ControlGroups, OfVersion1AreReadToo) {
  const test::Scratch scratch;
  write_text(scratch / "memory/box/memory.limit_in_bytes", "500");
  write_text(scratch / "memory/box/memory.usage_in_bytes", "600");
  write_text(scratch / "membership", "5:cpu:/other\n4:memory:/box\n");
  const GroupMemory memory = memory_of_groups(scratch.path(), scratch / "membership");
  EXPECT_EQ(memory.limit, 500U);
  EXPECT_EQ(memory.available, 0U);
}

TEST(ControlGroups, ThatAreNotThereLimitNothing) {
  const test::Scratch scratch;
  const GroupMemory memory = memory_of_groups(scratch.path(), scratch / "membership");
  EXPECT_EQ(memory.limit, std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(memory.available, std::numeric_limits<std::uint64_t>::max());
}

}  // namespace
}  // namespace galago::runtime
