// Regions count when planning exactly what they lend when running, and refuse to lend more.
#include "memory/arena.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <vector>

#include "galago/error.h"

namespace galago::memory {
namespace {

RegionSizes sizes(RegionId id, Bytes bytes) {
  RegionSizes all{};
  all[static_cast<std::size_t>(id)] = bytes;
  return all;
}

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
  EXPECT_EQ(plan.high_water()[static_cast<std::size_t>(RegionId::activations)], 192U);
  Arena run = Arena::reserved(plan.high_water());
  use(run);
  EXPECT_EQ(run.high_water(), plan.high_water());
}

TEST(Arena, PlanLendsNothingAndRunLendsAlignedMemory) {
  Arena plan = Arena::planning();
  EXPECT_EQ(plan.matrix(RegionId::weights, 2, 2).data, nullptr);
  Arena run = Arena::reserved(sizes(RegionId::activations, 256));
  run.array<std::byte>(RegionId::activations, 1);
  const Matrix matrix = run.matrix(RegionId::activations, 2, 2);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(matrix.data) % block_alignment, 0U);
  matrix.row(1)[1] = 3;
  EXPECT_EQ(matrix.slice_rows(1, 1).slice_cols(1, 1).data[0], 3);
}

TEST(Arena, RunningPastThePlanIsAnErrorOfOurs) {
  Arena run = Arena::reserved(sizes(RegionId::kv, 64));
  run.array<std::byte>(RegionId::kv, 64);
  try {
    run.array<std::byte>(RegionId::kv, 1);
    FAIL() << "more than the plan was lent";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::internal);
  }
}

TEST(Arena, EveryRegionGoesByItsOwnName) {
  Arena plan = Arena::planning();
  Arena run = Arena::reserved({});
  for (const RegionId id : all_regions) {
    EXPECT_EQ(plan.region(id).id(), id) << name_of(id);
    EXPECT_EQ(run.region(id).id(), id) << name_of(id);
  }
}

TEST(Arena, AReservationThatTheSystemRefusesIsAMemoryError) {
  try {
    Arena::reserved(sizes(RegionId::weights, std::numeric_limits<Bytes>::max() / 4));
    FAIL() << "the system gave what it cannot have";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::memory);
    EXPECT_NE(std::string(error.what()).find("weights"), std::string::npos);
  }
}

/// A request whose tower leaves before the decoder begins, with a staging block while loading.
std::vector<const std::byte*> go_through_phases(Arena& arena) {
  arena.array<std::byte>(RegionId::weights, 1000);
  {
    const Scope scope(arena.region(RegionId::staging));
    arena.array<std::byte>(RegionId::staging, 64);
  }
  std::vector<const std::byte*> places;
  for (int request = 0; request < 2; ++request) {
    EXPECT_TRUE(arena.enter(Phase::encode));
    places.push_back(arena.array<std::byte>(RegionId::tower, 500));
    arena.array<std::byte>(RegionId::activations, 300);
    EXPECT_TRUE(arena.enter(Phase::prefill));
    places.push_back(arena.array<std::byte>(RegionId::kv, 640));
    {
      const Scope scope(arena.region(RegionId::activations));
      arena.array<std::byte>(RegionId::activations, 64);
    }
    EXPECT_FALSE(arena.enter(Phase::decode));
    EXPECT_EQ(arena.region(RegionId::kv).used(), 640U);
  }
  return places;
}

TEST(Arena, RegionsThatAreNeverNeededAtOnceLieInTheSamePlace) {
  Arena plan = Arena::planning(lasting_with_staged_tower());
  go_through_phases(plan);
  const Occupancy planned = plan.occupancy();
  EXPECT_EQ(planned.phase_bytes(Phase::load), 1024U + 64U);
  EXPECT_EQ(planned.phase_bytes(Phase::encode), 1024U + 512U + 320U);
  EXPECT_EQ(planned.phase_bytes(Phase::prefill), 1024U + 640U + 64U);
  EXPECT_EQ(planned.phase_bytes(Phase::decode), 1024U + 640U);
  EXPECT_EQ(planned.total(), planned.phase_bytes(Phase::encode));

  Arena run = Arena::laid_out(planned);
  const auto places = go_through_phases(run);
  EXPECT_EQ(run.high_water(), plan.high_water());
  EXPECT_EQ(places[0], places[2]) << "the tower of the second request";
  EXPECT_EQ(places[1], places[3]) << "its pages";
  const std::byte* const tower = places[0];
  const std::byte* const pages = places[1];
  EXPECT_TRUE(tower < pages + 640 && pages < tower + 500) << "they do not overlap";
}

TEST(Arena, WhatLastsKeepsAPlaceOfItsOwn) {
  Arena plan = Arena::planning();
  const auto use_both = [](Arena& arena) {
    std::byte* const pages = arena.array<std::byte>(RegionId::kv, 64);
    arena.enter(Phase::encode);
    std::byte* const scratch = arena.array<std::byte>(RegionId::activations, 64);
    if (scratch != nullptr) scratch[0] = std::byte{1};
    if (pages != nullptr) pages[0] = std::byte{2};
    arena.enter(Phase::decode);
    return pages != nullptr && pages[0] == std::byte{2} && pages != scratch;
  };
  use_both(plan);
  EXPECT_EQ(plan.occupancy().total(), 128U);
  Arena run = Arena::laid_out(plan.occupancy());
  EXPECT_TRUE(use_both(run));
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
