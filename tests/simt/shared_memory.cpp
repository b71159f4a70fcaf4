#include "simt/shared_memory.h"

#include <fmt/format.h>

#include "simt/execution.h"

namespace galago::simt {
namespace {

/// Whether a barrier lies between an earlier touch and the present one.
bool ordered(const Touch& earlier, const Touch& now) {
  if (earlier.thread == now.thread || earlier.block_epoch != now.block_epoch) return true;  // epoch 0: never
  return earlier.thread / warp_size == now.thread / warp_size && earlier.warp_epoch != now.warp_epoch;
}

}  // namespace

SharedMemory& shared_memory() {
  static SharedMemory memory;
  return memory;
}

void SharedMemory::begin_block(std::size_t dynamic_bytes) {
  dynamic_bytes_ = dynamic_bytes;
  static_arrays_.clear();
  // Static arrays follow the dynamic part, on a boundary that suits every type.
  const std::size_t bytes = (dynamic_bytes + 15) / 16 * 16;
  bytes_.resize(bytes);
  written_.assign(bytes, 0);
  if (!races_) return;
  writes_.assign(bytes, {});
  readers_.assign(bytes, {});
}

std::uint32_t SharedMemory::static_array(const void* key, std::size_t bytes) {
  for (const StaticArray& array : static_arrays_) {
    if (array.key == key) return array.offset;
  }
  const auto offset = static_cast<std::uint32_t>(bytes_.size());
  const std::size_t end = offset + (bytes + 15) / 16 * 16;
  if (end > max_shared_bytes) {
    fail_kernel(Mistake::impossible_launch,
                fmt::format("{} bytes of shared memory, a block has at most {}", end, max_shared_bytes));
  }
  static_arrays_.push_back({key, offset});
  bytes_.resize(end);
  written_.resize(end);
  if (races_) {
    writes_.resize(end);
    readers_.resize(end);
  }
  return offset;
}

void SharedMemory::check_race(std::size_t offset, std::size_t size, bool write) {
  const Touch now = present_touch();
  for (std::size_t i = offset; i < offset + size; ++i) {
    Readers& readers = readers_[i];
    const Touch* other = !ordered(writes_[i], now) ? &writes_[i] : nullptr;
    if (write && other == nullptr) other = readers.conflict(now);
    if (other != nullptr) {
      fail_kernel(
          Mistake::shared_race,
          fmt::format("{} of shared byte {}, which thread {} {} with no barrier between",
                      write ? "write" : "read", i, other->thread, other == &writes_[i] ? "wrote" : "read"));
    }
    if (write) {
      writes_[i] = now;
    } else {
      readers.add(now);
    }
  }
}

const Touch* SharedMemory::Readers::conflict(const Touch& now) const {
  if (!ordered(last, now)) return &last;
  if (!ordered(of_another_warp, now)) return &of_another_warp;
  const bool same =
      last.thread == now.thread && last.block_epoch == now.block_epoch && last.warp_epoch == now.warp_epoch;
  return same && another_lane ? &last : nullptr;
}

void SharedMemory::Readers::add(const Touch& now) {
  if (last.block_epoch != now.block_epoch) {
    of_another_warp = {};
    another_lane = false;
  } else if (last.thread / warp_size != now.thread / warp_size) {
    of_another_warp = last;
    another_lane = false;
  } else {
    another_lane = last.warp_epoch == now.warp_epoch && (another_lane || last.thread != now.thread);
  }
  last = now;
}

void SharedMemory::misaligned(std::size_t offset, std::size_t size) {
  fail_kernel(Mistake::misaligned_access,
              fmt::format("{} bytes at shared byte {}, which is no multiple of {}", size, offset, size));
}

void SharedMemory::unwritten(std::size_t offset, std::size_t size) {
  fail_kernel(Mistake::unwritten_shared,
              fmt::format("read of {} shared bytes at {}, which nobody wrote", size, offset));
}

}  // namespace galago::simt
