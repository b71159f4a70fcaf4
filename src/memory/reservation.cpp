#include "memory/reservation.h"

#include <sys/mman.h>

#include <utility>

#include "base/fail.h"

namespace galago::memory {

Reservation::Reservation(Bytes bytes, std::string_view purpose) {
  if (bytes == 0) return;
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    fail(ErrorCode::memory,
         "the system refused {} bytes for the {} region; free memory or ask for less (--memory, --context)",
         bytes, purpose);
  }
  bytes_ = {static_cast<std::byte*>(base), bytes};
}

Reservation::Reservation(Reservation&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

Reservation& Reservation::operator=(Reservation&& other) noexcept {
  if (this != &other) {
    give_back();
    bytes_ = std::exchange(other.bytes_, {});
  }
  return *this;
}

Reservation::~Reservation() {
  give_back();
}

void Reservation::give_back() noexcept {
  if (!bytes_.empty()) munmap(bytes_.data(), bytes_.size());
}

}  // namespace galago::memory
