#include "runtime/machine.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <sstream>
#include <string>

namespace galago::runtime {
namespace {

using memory::RegionId;

/// A linear op whose operands are laid out in an arena of its own, timed until `seconds` have passed.
struct Probe {
  std::int64_t rows, width, features;
  WeightFormat format = DType::f32;
};

/// Operations (flops or bytes, as `work` says) per second of the best of several runs.
double best_rate(backend::Backend& backend, const Probe& probe, double work, double seconds) {
  const auto lay_out = [&](memory::Arena& arena) {
    Weight weight{nullptr, probe.format, {probe.features, probe.width}};
    std::byte* const to =
        arena.array<std::byte>(RegionId::weights, static_cast<std::int64_t>(weight.bytes()));
    weight.data = to;
    const Matrix x = arena.matrix(RegionId::activations, probe.rows, probe.width);
    const Matrix y = arena.matrix(RegionId::activations, probe.rows, probe.features);
    // Pages that nobody wrote to are all one page of zeros, which never leaves the cache.
    if (arena.mode() == memory::Mode::run && arena.device() == nullptr) std::memset(to, 0, weight.bytes());
    backend::Queue queue(arena.mode());
    backend::Execution exec{arena, queue};
    const auto start = std::chrono::steady_clock::now();
    double best = std::numeric_limits<double>::infinity();
    double elapsed = 0;
    do {
      const auto before = std::chrono::steady_clock::now();
      backend.linear(exec, x, weight, {}, y);
      backend.finish();
      const auto after = std::chrono::steady_clock::now();
      best = std::min(best, std::chrono::duration<double>(after - before).count());
      elapsed = std::chrono::duration<double>(after - start).count();
    } while (arena.mode() == memory::Mode::run && elapsed < seconds);
    return best;
  };
  memory::Arena plan = memory::Arena::planning(memory::lasting_by_default(), backend.device_memory());
  lay_out(plan);
  memory::Arena arena = memory::Arena::laid_out(plan.occupancy(), backend.device_memory());
  return work / lay_out(arena);
}

std::uint64_t read_number(const char* file) {
  std::ifstream stream(file);
  std::uint64_t number = 0;
  return stream >> number ? number : 0;
}

/// "Name:   123 kB" of a /proc file, in bytes; 0 where it has none.
std::uint64_t proc_bytes(const char* file, const std::string& name) {
  std::ifstream stream(file);
  std::string line;
  while (std::getline(stream, line)) {
    if (line.compare(0, name.size(), name) == 0 && line.size() > name.size() && line[name.size()] == ':') {
      return std::stoull(line.substr(name.size() + 1)) * 1024;
    }
  }
  return 0;
}

/// A file in this process's address space.
struct Mapped {
  std::uint64_t bytes = 0;
  std::uint64_t resident = 0;
  bool is_program = false;
};

// A megabyte of FP32 weights: stays in the second-level caches.
constexpr Probe compute{256, 512, 512};
constexpr double compute_flops = 2.0 * static_cast<double>(compute.rows * compute.width * compute.features);

}  // namespace

MachineCeilings measure_ceilings(backend::Backend& backend, const CeilingEffort& effort) {
  const Probe stream{1, 2048, effort.stream_rows};  // 64 MiB of weights or more: comes from memory
  const double bytes = 4.0 * static_cast<double>(stream.width * stream.features);
  return {best_rate(backend, compute, compute_flops, effort.seconds),
          best_rate(backend, stream, bytes, effort.seconds)};
}

double measure_int4_flops(backend::Backend& backend, double seconds) {
  const Grouped nibbles{4, 32, DType::f16, GroupOffset::none, {}};
  return best_rate(backend, {compute.rows, compute.width, compute.features, nibbles}, compute_flops, seconds);
}

ProcessMemory process_memory() {
  return {proc_bytes("/proc/self/status", "VmRSS"), proc_bytes("/proc/self/status", "VmHWM")};
}

std::uint64_t program_bytes() {
  malloc_trim(0);  // what opening a model needed for a moment
  std::map<std::string, Mapped> files;
  std::ifstream stream("/proc/self/smaps");
  Mapped* mapped = nullptr;
  std::string line;
  while (std::getline(stream, line)) {
    std::istringstream words(line);
    std::string first, second;
    words >> first >> second;
    if (!first.empty() && first.back() != ':') {  // "address permissions offset device inode path"
      const std::size_t path = line.find('/');
      mapped = path == std::string::npos ? nullptr : &files[line.substr(path)];
      if (mapped != nullptr && second.find('x') != std::string::npos) mapped->is_program = true;
    } else if (mapped != nullptr && (first == "Size:" || first == "Rss:")) {
      (first == "Size:" ? mapped->bytes : mapped->resident) += std::stoull(second) * 1024;
    }
  }
  std::uint64_t bytes = process_memory().resident_bytes;
  for (const auto& [path, file] : files) {
    if (file.is_program) bytes += file.bytes - std::min(file.bytes, file.resident);
  }
  return bytes;
}

void reset_peak_resident() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets VmHWM
}

std::uint64_t available_memory() {
  std::uint64_t available = proc_bytes("/proc/meminfo", "MemAvailable");
  const std::uint64_t limit = read_number("/sys/fs/cgroup/memory.max");  // version 2; "max" reads as 0
  const std::uint64_t used = read_number("/sys/fs/cgroup/memory.current");
  if (limit > 0) available = std::min(available, limit > used ? limit - used : 0);
  return available;
}

std::uint64_t total_memory() {
  const std::uint64_t total = proc_bytes("/proc/meminfo", "MemTotal");
  const std::uint64_t limit = read_number("/sys/fs/cgroup/memory.max");
  return limit > 0 ? std::min(total, limit) : total;
}

double roofline_seconds(const backend::Cost& cost, const MachineCeilings& ceilings) {
  const double compute = ceilings.flops_per_second > 0 ? cost.flops / ceilings.flops_per_second : 0;
  const double traffic =
      ceilings.bytes_per_second > 0
          ? static_cast<double>(cost.bytes_read + cost.bytes_written) / ceilings.bytes_per_second
          : 0;
  return std::max(compute, traffic);
}

}  // namespace galago::runtime
