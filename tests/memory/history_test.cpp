// The history of a run is bounded: loading and the latest phases stay.
#include "memory/history.h"

#include <gtest/gtest.h>

namespace galago::memory {
namespace {

PhaseRecord record_of(Phase phase, Bytes used) {
  PhaseRecord record;
  record.phase = phase;
  record.used.fill(used);
  return record;
}

TEST(History, KeepsPhasesInOrderWithTheirTimes) {
  History history;
  history.end_phase(record_of(Phase::load, 1));
  history.end_phase(record_of(Phase::encode, 2));
  const auto records = history.records();
  ASSERT_EQ(records.size(), 2U);
  EXPECT_EQ(records[0].begin_seconds, 0);
  EXPECT_LE(records[0].begin_seconds, records[0].end_seconds);
  EXPECT_EQ(records[1].begin_seconds, records[0].end_seconds);
  EXPECT_EQ(records[1].phase, Phase::encode);
  EXPECT_EQ(records[1].used.front(), 2U);
  EXPECT_EQ(history.n_forgotten(), 0U);
}

TEST(History, OfALongRunKeepsLoadingAndTheLatestPhases) {
  constexpr Bytes n_phases_of_run = 2000;
  History history;
  history.end_phase(record_of(Phase::load, 0));
  for (Bytes i = 1; i <= n_phases_of_run; ++i) history.end_phase(record_of(Phase::decode, i));
  const auto records = history.records();
  EXPECT_EQ(records.size() + history.n_forgotten(), n_phases_of_run + 1);
  EXPECT_EQ(records.front().phase, Phase::load);
  EXPECT_EQ(records.back().used.front(), n_phases_of_run);
  for (std::size_t i = 2; i < records.size(); ++i) {
    EXPECT_EQ(records[i].used.front(), records[i - 1].used.front() + 1);
  }
}

}  // namespace
}  // namespace galago::memory
