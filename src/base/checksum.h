// A fast hash that tells damaged bytes from sound ones. It does not withstand forgery.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace galago {

/// XXH3, 64 bits: the same on every machine.
std::uint64_t checksum(std::span<const std::byte> bytes);

}  // namespace galago
