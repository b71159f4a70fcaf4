// What a kernel's source sees of the emulated device: its coordinates, checked memory, barriers and
// collectives. The same names mean the real thing in kernels/cuda/primitives.cuh.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "simt/execution.h"
#include "simt/memory.h"
#include "simt/shared_memory.h"

#define __global__ static
#define __host__
#define __device__ inline
#define __forceinline__
#define __launch_bounds__(...)
#define __restrict__

namespace galago::simt {

[[noreturn]] void fail_global(const void* address, std::size_t bytes, const Extent& extent);

/// Device memory: a pointer that knows the allocation it came from.
template <class T>
class Global {
 public:
  Global(T* data)  // NOLINT(google-explicit-constructor): a plain pointer on the device
      : data_(data), extent_(extent_of(data)) {}
  template <class U, class = std::enable_if_t<std::is_convertible_v<U*, T*>>>
  Global(const Global<U>& other)  // NOLINT(google-explicit-constructor)
      : data_(other.data()), extent_(other.extent()) {}

  T& operator[](std::int64_t i) const {
    check(data_ + i, sizeof(T));
    return data_[i];
  }
  Global operator+(std::int64_t n) const { return Global(data_ + n, extent_); }
  explicit operator bool() const { return data_ != nullptr; }

  T* data() const { return data_; }
  const Extent& extent() const { return extent_; }

  /// The same memory as elements of another type.
  template <class U>
  Global<U> as() const {
    return Global<U>(reinterpret_cast<U*>(data_), extent_);
  }
  void check(const void* address, std::size_t bytes) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (at < extent_.begin || at + bytes > extent_.end || at % bytes != 0) {
      fail_global(address, bytes, extent_);
    }
  }
  /// n_bytes from a multiple of `alignment` on.
  void check_range(const void* address, std::size_t alignment, std::size_t n_bytes) const {
    const auto at = reinterpret_cast<std::uintptr_t>(address);
    if (at < extent_.begin || at + n_bytes > extent_.end) fail_global(address, n_bytes, extent_);
    if (at % alignment != 0) fail_global(address, alignment, extent_);
  }

 private:
  template <class U>
  friend class Global;
  Global(T* data, const Extent& extent) : data_(data), extent_(extent) {}

  T* data_;
  Extent extent_;
};

template <class T>
class SharedElement {
 public:
  explicit SharedElement(std::size_t offset) : offset_(offset) {}
  operator T() const {  // NOLINT(google-explicit-constructor): it stands for the element
    return shared_memory().read<T>(offset_);
  }
  const SharedElement& operator=(const T& value) const {  // NOLINT(misc-unconventional-assign-operator)
    shared_memory().write(offset_, value);
    return *this;
  }
  const SharedElement& operator=(const SharedElement& other) const {  // NOLINT
    return *this = static_cast<T>(other);
  }
  SharedElement(const SharedElement&) = default;

 private:
  std::size_t offset_;
};

[[noreturn]] void fail_shared(std::int64_t index, std::size_t count);

/// Shared memory: `count` elements from an offset on.
template <class T>
class Shared {
 public:
  Shared(std::size_t offset, std::size_t count) : offset_(offset), count_(count) {}

  SharedElement<T> operator[](std::int64_t i) const {
    if (i < 0 || static_cast<std::size_t>(i) >= count_) fail_shared(i, count_);
    return SharedElement<T>(offset_ + static_cast<std::size_t>(i) * sizeof(T));
  }
  Shared operator+(std::int64_t n) const {
    if (n < 0 || static_cast<std::size_t>(n) > count_) fail_shared(n, count_);
    return {offset_ + static_cast<std::size_t>(n) * sizeof(T), count_ - static_cast<std::size_t>(n)};
  }
  /// Where `bytes` bytes from element `i` on lie.
  std::size_t place(std::int64_t i, std::size_t bytes) const {
    if (i < 0 || static_cast<std::size_t>(i) * sizeof(T) + bytes > count_ * sizeof(T)) fail_shared(i, count_);
    return offset_ + static_cast<std::size_t>(i) * sizeof(T);
  }
  /// The same memory as elements of another type.
  template <class U>
  Shared<U> as() const {
    return {offset_, count_ * sizeof(T) / sizeof(U)};
  }

 private:
  std::size_t offset_;
  std::size_t count_;
};

/// All of the launch's dynamic shared memory.
template <class T>
Shared<T> dynamic_shared() {
  return {0, shared_memory().dynamic_bytes() / sizeof(T)};
}

/// An array of a fixed size, one a block.
#define GALAGO_SHARED_ARRAY(T, name, count) \
  static const char name##_key = 0;         \
  const ::galago::simt::Shared<T> name(     \
      ::galago::simt::shared_memory().static_array(&name##_key, sizeof(T) * (count)), count)

#define block_barrier() ::galago::simt::wait_for_block(__LINE__)
#define warp_barrier() ::galago::simt::wait_for_warp(__LINE__)

template <class T>
std::uint64_t to_bits(T value) {
  static_assert(sizeof(T) <= sizeof(std::uint64_t));
  std::uint64_t bits = 0;
  std::memcpy(&bits, &value, sizeof(T));
  return bits;
}
template <class T>
T from_bits(std::uint64_t bits) {
  T value;
  std::memcpy(&value, &bits, sizeof(T));
  return value;
}

// Sites of collectives stand apart from those of barriers, which are lines.
template <class T>
T shuffle(T value, unsigned lane) {
  return from_bits<T>(exchange_in_warp(to_bits(value), 1U << 20)[lane % warp_size]);
}
template <class T>
T shuffle_xor(T value, unsigned mask) {
  const auto lane = static_cast<unsigned>(threadIdx.x) % warp_size;
  return from_bits<T>(exchange_in_warp(to_bits(value), 4U << 20)[(lane ^ mask) % warp_size]);
}
/// One exchange stands for the five that a device needs; the order of the sums is the device's.
template <class Combine>
float reduce_in_warp(float value, unsigned site, Combine combine) {
  const std::uint64_t* bits = exchange_in_warp(to_bits(value), site);
  float values[warp_size];
  for (unsigned i = 0; i < warp_size; ++i) values[i] = from_bits<float>(bits[i]);
  for (unsigned step = warp_size / 2; step > 0; step /= 2) {
    for (unsigned i = 0; i < step; ++i) values[i] = combine(values[i], values[i + step]);
  }
  return values[0];
}
inline float warp_sum(float value) {
  return reduce_in_warp(value, 2U << 20, [](float a, float b) { return a + b; });
}
inline float warp_max(float value) {
  return reduce_in_warp(value, 3U << 20, [](float a, float b) { return a > b ? a : b; });
}

/// A vector of V from element `i` of `from` on, where its address must be a multiple of V's size.
template <class V, class T>
V load_vector(const Global<T>& from, std::int64_t i) {
  from.check(from.data() + i, sizeof(V));
  V value;
  std::memcpy(&value, from.data() + i, sizeof(V));
  return value;
}

template <class V, class T>
V load_vector(const Shared<T>& from, std::int64_t i) {
  return shared_memory().read<V>(from.place(i, sizeof(V)));
}
template <class V, class T>
void store_vector(const Global<T>& to, std::int64_t i, const V& value) {
  to.check(to.data() + i, sizeof(V));
  std::memcpy(to.data() + i, &value, sizeof(V));
}
template <class V, class T>
void store_vector(const Shared<T>& to, std::int64_t i, const V& value) {
  shared_memory().write(to.place(i, sizeof(V)), value);
}

/// The elements' own memory as another type.
template <class U, class T>
Global<U> memory_as(const Global<T>& from) {
  return from.template as<U>();
}
template <class U, class T>
Shared<U> memory_as(const Shared<T>& from) {
  return from.template as<U>();
}

}  // namespace galago::simt
