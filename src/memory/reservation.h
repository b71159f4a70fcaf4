// Memory from the system, held for as long as the object lives.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "tensor/dtype.h"

namespace galago::memory {

class Reservation {
 public:
  Reservation() = default;
  /// Exactly `bytes` bytes, all zero, for `purpose`. Throws Error{memory} when the system refuses.
  Reservation(Bytes bytes, std::string_view purpose);
  Reservation(Reservation&& other) noexcept;
  Reservation& operator=(Reservation&& other) noexcept;
  ~Reservation();

  std::span<std::byte> bytes() const { return bytes_; }

 private:
  void give_back() noexcept;

  std::span<std::byte> bytes_;
};

}  // namespace galago::memory
