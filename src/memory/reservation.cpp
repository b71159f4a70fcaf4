#include "memory/reservation.h"

#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>
#include <utility>
#include <vector>

#include "base/fail.h"
#include "base/topology.h"

namespace galago::memory {
namespace {

/// Where there are several memory nodes: all threads read all of it, so the pages go to all nodes in turn
/// (mbind(2)), not to that of the thread which loads. Advice: where it is not taken, nothing is lost but
/// speed.
void spread_over_nodes(std::byte* base, Bytes bytes) {
  const std::vector<int> nodes = memory_nodes();
  if (nodes.size() < 2) return;
  constexpr int interleave = 3;  // MPOL_INTERLEAVE
  unsigned long mask = 0;
  constexpr int bits = sizeof mask * CHAR_BIT;
  for (const int node : nodes) mask |= node < bits ? 1UL << node : 0;
  syscall(SYS_mbind, base, bytes, interleave, &mask, bits + 1, 0);
}

}  // namespace

Reservation::Reservation(Bytes bytes, std::string_view purpose) {
  if (bytes == 0) return;
  void* base = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) {
    fail(ErrorCode::memory,
         "the system refused {} bytes for the {} region; free memory or ask for less (--memory, --context)",
         bytes, purpose);
  }
  bytes_ = {static_cast<std::byte*>(base), bytes};
  spread_over_nodes(bytes_.data(), bytes);
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
