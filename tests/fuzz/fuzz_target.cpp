// A libFuzzer target over one of the parsers (fuzz/parsers.h), which GALAGO_FUZZ_PARSER names.
#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "fuzz/parsers.h"
#include "galago/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  try {
    galago::fuzz::GALAGO_FUZZ_PARSER({reinterpret_cast<const char*>(data), size});
  } catch (const galago::Error& error) {
    // Refused with a sentence, as it should be, unless the fault is said to be ours.
    if (error.code() == galago::ErrorCode::internal) std::abort();
  }
  return 0;
}
