#include "simt/memory.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>
#include <utility>

#include "simt/device.h"

namespace galago::simt {
namespace {

constexpr std::size_t default_bytes = std::size_t{16} << 30;
constexpr std::size_t alignment = 256;  // cudaMalloc's
// Up to here fresh memory is filled with NaN; larger blocks would cost more than the mistakes they find.
constexpr std::size_t largest_filled = std::size_t{64} << 20;

/// One device's.
struct Memory {
  std::map<std::uintptr_t, std::size_t> blocks;  // begin -> bytes
  std::size_t total = default_bytes;
  std::size_t used = 0;
  Extent last;  // the block found last
};

Memory& memory(int device) {
  static std::array<Memory, n_devices> memories;
  return memories.at(static_cast<std::size_t>(device));
}

thread_local int current = 0;

/// The host's that all devices copy from: begin -> bytes.
std::map<std::uintptr_t, std::size_t>& pinned_blocks() {
  static std::map<std::uintptr_t, std::size_t> blocks;
  return blocks;
}

}  // namespace

int current_device() {
  return current;
}

int set_current_device(int device) {
  return std::exchange(current, device);
}

Extent extent_of(const void* address) {
  Memory& m = memory(current);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (at >= m.last.begin && at < m.last.end) return m.last;
  auto found = m.blocks.upper_bound(at);
  if (found == m.blocks.begin()) return {};
  --found;
  // One past the end belongs to the block as well: views may be empty.
  if (at > found->first + found->second) return {};
  m.last = {found->first, found->first + found->second};
  return m.last;
}

void* allocate_device(std::size_t bytes) {
  Memory& m = memory(current);
  if (bytes == 0 || bytes > m.total - m.used) return nullptr;
  // Untouched pages take nothing, so that a planned reservation costs what is used of it. A page before and
  // after belongs to no block.
  const std::size_t mapped = (bytes + alignment - 1) / alignment * alignment;
  void* base =
      mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (base == MAP_FAILED) return nullptr;
  if (bytes <= largest_filled) std::memset(base, 0xff, bytes);
  m.blocks[reinterpret_cast<std::uintptr_t>(base)] = bytes;
  m.used += bytes;
  return base;
}

bool free_device(void* address) {
  for (int device = 0; device < n_devices; ++device) {
    Memory& m = memory(device);
    const auto found = m.blocks.find(reinterpret_cast<std::uintptr_t>(address));
    if (found == m.blocks.end()) continue;
    munmap(address, (found->second + alignment - 1) / alignment * alignment);
    m.used -= found->second;
    m.blocks.erase(found);
    m.last = {};
    return true;
  }
  return false;
}

void* allocate_pinned(std::size_t bytes) {
  void* const base = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (base != nullptr) pinned_blocks()[reinterpret_cast<std::uintptr_t>(base)] = bytes;
  return base;
}

bool free_pinned(void* address) {
  if (pinned_blocks().erase(reinterpret_cast<std::uintptr_t>(address)) == 0) return false;
  std::free(address);
  return true;
}

bool is_pinned(const void* address) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  auto found = pinned_blocks().upper_bound(at);
  return found != pinned_blocks().begin() && at - std::prev(found)->first < std::prev(found)->second;
}

void count_library_bytes(std::ptrdiff_t bytes, int device) {
  memory(device).used += static_cast<std::size_t>(bytes);
}

void set_device_memory(std::size_t bytes, int device) {
  memory(device).total = bytes;
}

std::size_t device_memory(int device) {
  return memory(device).total;
}

std::size_t free_device_memory(int device) {
  const Memory& m = memory(device);
  return m.total > m.used ? m.total - m.used : 0;
}

void fail_global(const void* address, std::size_t bytes, const Extent& extent) {
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  if (at >= extent.begin && at + bytes <= extent.end) {
    fail_kernel(Mistake::misaligned_access,
                fmt::format("{} bytes at byte {} of an allocation, which is no multiple of {}", bytes,
                            at - extent.begin, bytes));
  }
  if (extent.end == extent.begin) {
    fail_kernel(Mistake::outside_allocation,
                fmt::format("{} bytes at {}, where nothing is allocated", bytes, address));
  }
  fail_kernel(Mistake::outside_allocation,
              fmt::format("{} bytes at byte {} of an allocation of {}", bytes,
                          static_cast<std::int64_t>(at - extent.begin), extent.end - extent.begin));
}

void fail_shared(std::int64_t index, std::size_t count) {
  fail_kernel(Mistake::outside_shared, fmt::format("element {} of {} in shared memory", index, count));
}

}  // namespace galago::simt
