// Lists of what to measure, and every combination of them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "galago/bench.h"

namespace galago::cli {

struct BenchSweep {
  BenchOptions base;
  bool text_only = false;
  std::vector<Precision> precisions;        ///< empty: base's
  std::vector<int> threads;                 ///< empty: base's
  std::vector<PictureSize> pictures;        ///< empty: base's
  std::vector<std::int64_t> prompt_tokens;  ///< empty: base's
};

/// One set of options for every combination: precision by precision, then threads, pictures, prompts.
std::vector<BenchOptions> combinations(const BenchSweep& sweep);

/// Measures them all. A configuration of several that does not fit in memory is told as such, not thrown.
BenchReport run_sweep(const BenchSweep& sweep);

}  // namespace galago::cli
