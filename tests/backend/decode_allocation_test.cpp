// Decoding a token allocates nothing: the global operator new counts.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <new>
#include <vector>

#include "backend/cpu/cpu_backend.h"
#include "runtime/executor.h"
#include "runtime/load/model_files.h"
#include "runtime/plan/pictures.h"
#include "runtime/plan/planner.h"

namespace {
std::atomic<std::int64_t> n_allocations = 0;
}

void* operator new(std::size_t bytes) {
  ++n_allocations;
  if (void* memory = std::malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  ++n_allocations;
  return std::malloc(bytes > 0 ? bytes : 1);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace galago::testing {
namespace {

void expect_no_allocations(const backend::Backends& backends) {
  const runtime::ModelFiles files =
      runtime::open_model(std::filesystem::path(GALAGO_GOLDENS_DIR) / "text-llama");
  EngineOptions options;
  options.context = 64;
  runtime::Configuration configuration =
      runtime::configure(options, files.description, {0, runtime::largest_picture(files, std::nullopt)});
  if (backends.size() == 2) configuration.stage_layers = {1, 1};
  runtime::Executor executor(files.checkpoint, files.description, configuration, backends,
                             runtime::reserve(runtime::rehearse(files, configuration, backends), backends));
  const std::vector<backend::PageId> pages{0, 1, 2, 3};
  const backend::TokenChoice choice{.temperature = 1, .top_p = 0.9};

  const std::int64_t before = n_allocations;
  ASSERT_GT(before, 0) << "the counter does not count";
  for (std::int64_t position = 0; position < 64; ++position) {
    const auto id = static_cast<std::int32_t>(position);
    executor.step(backend::Phase::decode, {&id, 1}, {0, 1, position, pages}, 1);
    executor.choose({&choice, 1});
  }
  EXPECT_EQ(n_allocations, before);
}

TEST(Decoding, AllocatesNothing) {
  const auto backend = backend::make_cpu_backend(2);
  expect_no_allocations(*backend);
}

TEST(Decoding, AllocatesNothingOnSeveralDevices) {
  std::vector<std::unique_ptr<backend::Backend>> backends;
  backends.push_back(backend::make_cpu_backend(1));
  backends.push_back(backend::make_cpu_backend(1));
  expect_no_allocations(backends);
}

}  // namespace
}  // namespace galago::testing
