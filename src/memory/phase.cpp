#include "memory/phase.h"

namespace galago::memory {

std::string_view name_of(Phase phase) {
  switch (phase) {
    case Phase::load:
      return "load";
    case Phase::encode:
      return "encode";
    case Phase::prefill:
      return "prefill";
    case Phase::decode:
      return "decode";
  }
  return "?";
}

}  // namespace galago::memory
