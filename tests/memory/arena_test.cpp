// Regions count when planning exactly what they lend when running, and refuse to lend more.
#include "memory/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>

#include "galago/error.h"

namespace galago::memory {
namespace {

/// The same takes for both modes.
void use(Arena& arena) {
  Region& region = arena.region(RegionId::activations);
  arena.matrix(RegionId::activations, 3, 5);  // 60 bytes: one block of 64
  {
    const Scope scope(region);
    arena.array<float>(RegionId::activations, 17);  // 68 bytes: two blocks
    EXPECT_EQ(region.used(), 64U + 128U);
  }
  EXPECT_EQ(region.used(), 64U);
  const Scope scope(region);
  arena.array<std::byte>(RegionId::activations, 1);
}

TEST(Arena, PlanAndRunAgreeToTheByte) {
  Arena plan = Arena::planning();
  use(plan);
  EXPECT_EQ(plan.high_water()[2], 192U);
  Arena run = Arena::reserved(plan.high_water());
  use(run);
  EXPECT_EQ(run.high_water(), plan.high_water());
}

TEST(Arena, PlanLendsNothingAndRunLendsAlignedMemory) {
  Arena plan = Arena::planning();
  EXPECT_EQ(plan.matrix(RegionId::weights, 2, 2).data, nullptr);
  Arena run = Arena::reserved({0, 0, 256, 0});
  run.array<std::byte>(RegionId::activations, 1);
  const Matrix matrix = run.matrix(RegionId::activations, 2, 2);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(matrix.data) % block_alignment, 0U);
  matrix.row(1)[1] = 3;
  EXPECT_EQ(matrix.slice_rows(1, 1).slice_cols(1, 1).data[0], 3);
}

TEST(Arena, RunningPastThePlanIsAnErrorOfOurs) {
  Arena run = Arena::reserved({0, 64, 0, 0});
  run.array<std::byte>(RegionId::kv, 64);
  try {
    run.array<std::byte>(RegionId::kv, 1);
    FAIL() << "more than the plan was lent";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
}

TEST(Arena, AReservationThatTheSystemRefusesIsAMemoryError) {
  try {
    Arena::reserved({std::numeric_limits<Bytes>::max() / 4, 0, 0, 0});
    FAIL() << "the system gave what it cannot have";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::memory);
    EXPECT_NE(std::string(error.what()).find("weights"), std::string::npos);
  }
}

TEST(Region, MovesItsMemory) {
  Region first = Region::reserved(RegionId::kv, 128);
  std::byte* taken = first.take(64);
  taken[0] = std::byte{7};
  Region second = std::move(first);
  EXPECT_EQ(taken[0], std::byte{7});
  EXPECT_EQ(second.used(), 64U);
}

}  // namespace
}  // namespace galago::memory
