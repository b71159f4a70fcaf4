// Sections of program files: this program's own, and files that are none.
#include "base/elf_section.h"

#include <gtest/gtest.h>

#include "checkpoint/scratch.h"

namespace galago {
namespace {

TEST(ElfSection, OfThisProgramAreFoundByTheirWholeName) {
  EXPECT_GT(section_bytes("/proc/self/exe", ".text"), 1000U);
  EXPECT_EQ(section_bytes("/proc/self/exe", ".tex"), 0U);
  EXPECT_EQ(section_bytes("/proc/self/exe", ".text_that_nobody_has"), 0U);
}

TEST(ElfSection, OfOtherFilesAreNone) {
  const test::Scratch scratch;
  EXPECT_EQ(section_bytes(scratch / "missing", ".text"), 0U);
  test::write_text(scratch / "text", "no program");
  EXPECT_EQ(section_bytes(scratch / "text", ".text"), 0U);
  test::write_text(scratch / "torn", std::string("\x7f"
                                                 "ELF\x02",
                                                 5) +
                                         std::string(59, '\xff'));
  EXPECT_EQ(section_bytes(scratch / "torn", ".text"), 0U);
}

}  // namespace
}  // namespace galago
