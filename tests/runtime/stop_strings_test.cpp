// Text is shown as soon as no stop string can begin in it, and never beyond one.
#include "runtime/stop_strings.h"

#include <gtest/gtest.h>

namespace galago::runtime {
namespace {

TEST(StopStrings, WithoutAnyEverythingIsShownAtOnce) {
  StopStrings stops({});
  EXPECT_EQ(stops.append("abc"), "abc");
  EXPECT_EQ(stops.finish(), "");
}

TEST(StopStrings, EndsBeforeAStringThatArrivesInPieces) {
  StopStrings stops({"USER:"});
  EXPECT_EQ(stops.append("yes. US"), "yes. ");
  EXPECT_EQ(stops.append("E"), "");
  EXPECT_FALSE(stops.found());
  EXPECT_EQ(stops.append("R: more"), "");
  EXPECT_TRUE(stops.found());
}

TEST(StopStrings, ShowsWhatOnlyLookedLikeABeginning) {
  StopStrings stops({"aab", ""});
  EXPECT_EQ(stops.append("aa"), "");
  EXPECT_EQ(stops.append("a"), "a");
  EXPECT_EQ(stops.append("c"), "aac");
  EXPECT_EQ(stops.append("x a"), "x ");
  EXPECT_EQ(stops.finish(), "a");
}

TEST(StopStrings, TheEarliestOfSeveralWins) {
  StopStrings stops({"two", "one"});
  EXPECT_EQ(stops.append("zero one two"), "zero ");
  EXPECT_TRUE(stops.found());
}

}  // namespace
}  // namespace galago::runtime
