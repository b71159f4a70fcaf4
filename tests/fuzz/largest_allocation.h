// The largest block that operator new was asked for: how a test sees that no unchecked number sizes an
// allocation.
#pragma once

#include <cstddef>

namespace galago::fuzz {

void reset_largest_allocation();
std::size_t largest_allocation();

}  // namespace galago::fuzz
