#include "base/checksum.h"

// Compiled in: nothing has to be linked, here or by those who use the library.
#define XXH_INLINE_ALL
#include <xxhash.h>

namespace galago {

std::uint64_t checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

}  // namespace galago
