// What AddressSanitizer changes for tests of memory.
#pragma once

namespace galago::test {

/// Freed memory stays with the process, and counts as the program's in the next plan.
#if defined(__SANITIZE_ADDRESS__)
inline constexpr bool keeps_freed_memory = true;
#else
inline constexpr bool keeps_freed_memory = false;
#endif

}  // namespace galago::test
