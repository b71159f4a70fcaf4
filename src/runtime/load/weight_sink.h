// Where a weight's bytes go, one run after the other: to the host's memory in place, or to a device.
#pragma once

#include <array>
#include <memory>
#include <span>

#include "memory/region.h"

namespace galago::runtime {

class WeightSink {
 public:
  virtual ~WeightSink() = default;

  /// Where the next `bytes` bytes are to be put, at most most(), before the next call.
  virtual std::byte* next(Bytes bytes) = 0;
  virtual Bytes most() const = 0;

  /// The next bytes as they are, however many.
  void put(std::span<const std::byte> bytes);
};

/// Memory of the host that is the place itself.
class InPlace final : public WeightSink {
 public:
  explicit InPlace(void* place) : at_(static_cast<std::byte*>(place)) {}

  std::byte* next(Bytes bytes) override;
  Bytes most() const override;

 private:
  std::byte* at_;
};

/// A device's memory, by way of two halves of pinned memory: while one is filled the other is copied, beside
/// the device's work.
class Delivery final : public WeightSink {
 public:
  /// Takes the halves from `staging` until it ends. Copies begin when the work is done that was handed in
  /// before, which may use the places.
  Delivery(memory::DeviceMemory& device, memory::Region& staging);
  /// Waits for the copies.
  ~Delivery() override;
  Delivery(const Delivery&) = delete;
  Delivery& operator=(const Delivery&) = delete;

  /// What follows is for `place`; what was put before has been handed in.
  void turn_to(std::byte* place);
  std::byte* next(Bytes bytes) override;
  Bytes most() const override { return half_bytes; }
  /// Hands in the copy of what was put since the last one.
  void copy();

 private:
  // Copies of this size are as fast as any; the most rows that are converted at once fit.
  static constexpr Bytes half_bytes = 1 << 20;

  struct Half {
    std::span<std::byte> memory;
    std::unique_ptr<memory::Mark> copied;
  };

  memory::DeviceMemory& device_;
  memory::Scope scope_;
  std::array<Half, 2> halves_;
  std::size_t filling_ = 0;
  Bytes filled_ = 0;  // of that half
  Bytes copied_ = 0;
  std::byte* place_ = nullptr;  // of what is copied next
};

}  // namespace galago::runtime
