// How benchmarks put numbers and configurations into words, the same in every output.
#pragma once

#include <string>

#include "galago/bench.h"
#include "runtime/report/words.h"  // IWYU pragma: export

namespace galago::runtime {

/// "shape llava-1.1b, fp16, 2 threads, 1024x768, prompt 640, new 32": the same for the same configuration on
/// any machine, so that reports can be laid side by side.
std::string key_of(const BenchResult& result);

/// "18.3 tokens/s", "4.1 pictures/min", "2.3 GB/s"
std::string rate_text(const BenchStage& stage);

}  // namespace galago::runtime
