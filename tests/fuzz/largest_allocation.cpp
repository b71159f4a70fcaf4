// operator new of this program: counts, and refuses what no parser of small files may ask for.
#include "fuzz/largest_allocation.h"

#include <atomic>
#include <cstdlib>
#include <new>

namespace galago::fuzz {
namespace {

std::atomic<std::size_t> largest{0};
constexpr std::size_t refused = std::size_t{1} << 30;

void* counted_or_null(std::size_t bytes) noexcept {
  std::size_t seen = largest.load(std::memory_order_relaxed);
  while (bytes > seen && !largest.compare_exchange_weak(seen, bytes, std::memory_order_relaxed)) {
  }
  return bytes < refused ? std::malloc(bytes == 0 ? 1 : bytes) : nullptr;
}

void* counted(std::size_t bytes) {
  if (void* memory = counted_or_null(bytes)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void reset_largest_allocation() {
  largest = 0;
}

std::size_t largest_allocation() {
  return largest;
}

}  // namespace galago::fuzz

void* operator new(std::size_t bytes) {
  return galago::fuzz::counted(bytes);
}
void* operator new[](std::size_t bytes) {
  return galago::fuzz::counted(bytes);
}
// The library's own temporary buffers (std::stable_sort) ask this way: all forms or none, since what one form
// takes the plain delete gives back.
void* operator new(std::size_t bytes, const std::nothrow_t&) noexcept {
  return galago::fuzz::counted_or_null(bytes);
}
void* operator new[](std::size_t bytes, const std::nothrow_t&) noexcept {
  return galago::fuzz::counted_or_null(bytes);
}
void operator delete(void* memory) noexcept {
  std::free(memory);
}
void operator delete[](void* memory) noexcept {
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}
void operator delete[](void* memory, std::size_t) noexcept {
  std::free(memory);
}
