#include "runtime/bench/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <vector>

#include "base/thread_pool.h"
#include "runtime/plan/machine.h"

namespace galago::runtime {
namespace {

/// "model name : AMD EPYC 7R13" of the first processor.
std::string cpu_name() {
  std::ifstream stream("/proc/cpuinfo");
  std::string line;
  while (std::getline(stream, line)) {
    const std::size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != line.npos) return line.substr(colon + 2);
  }
  return "unknown";
}

double copy_bandwidth(int n_threads) {
  constexpr std::size_t part = std::size_t{1} << 20;
  constexpr std::size_t n_parts = 128;
  constexpr int n_runs = 6;
  const std::vector<std::byte> from(part * n_parts, std::byte{1});
  std::vector<std::byte> to(from.size());
  ThreadPool pool(n_threads);
  double best = 0;
  for (int run = 0; run < n_runs; ++run) {
    const auto start = std::chrono::steady_clock::now();
    pool.parallel_for(n_parts, [&](std::int64_t item, int /*thread*/) {
      const std::size_t offset = static_cast<std::size_t>(item) * part;
      std::memcpy(to.data() + offset, from.data() + offset, part);
    });
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    best = std::max(best, 2 * static_cast<double>(from.size()) / seconds.count());
  }
  return best;
}

}  // namespace

BenchMachine measure_machine(backend::Backend& backend, int n_threads) {
  constexpr CeilingEffort effort{65536, 0.4};  // 512 MiB: beyond any cache
  const MachineCeilings ceilings = measure_ceilings(backend, effort);
  return {cpu_name(),
          fmt::format("{} ({})", backend.name(), backend.description()),
          n_threads,
          copy_bandwidth(n_threads),
          ceilings.bytes_per_second,
          ceilings.flops_per_second,
          ceilings.int8_flops_per_second,
          ceilings.bf16_flops_per_second};
}

}  // namespace galago::runtime
