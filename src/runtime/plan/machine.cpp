#include "runtime/plan/machine.h"

#include <malloc.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <sstream>
#include <string>
#include <string_view>

#include "base/elf_section.h"

namespace galago::runtime {
namespace {

using memory::RegionId;

/// A linear op, x [rows, width] by a weight [features, width].
struct Probe {
  std::int64_t rows, width, features;
  WeightFormat format = DType::f32;
};

/// What a backend may multiply in int8.
constexpr Grouped four_bits{4, 32, DType::f16, GroupOffset::minimum};

/// The probe's operands.
struct Operands {
  Operands(memory::Arena& arena, const Probe& probe)
      : weight{nullptr, probe.format, {probe.features, probe.width}} {
    std::byte* const to = arena.region(RegionId::weights).take(weight.bytes());
    // Pages that nobody wrote to are all one page of zeros, which never leaves the cache.
    if (arena.mode() == memory::Mode::run && arena.device() == nullptr) std::memset(to, 0, weight.bytes());
    weight.data = to;
    x = arena.matrix(RegionId::activations, probe.rows, probe.width);
    y = arena.matrix(RegionId::activations, probe.rows, probe.features);
  }

  Weight weight;
  Matrix x, y;
};

/// What the probe takes, and the op that the backend makes of it.
struct ProbePlan {
  memory::Occupancy memory;
  backend::Ledger ledger;
};
ProbePlan plan_probe(backend::Backend& backend, const Probe& probe) {
  memory::Arena arena = memory::Arena::planning(memory::lasting_by_default(), backend.device_memory());
  backend::Queue queue(arena.mode());
  backend::Execution exec{arena, queue};
  const Operands operands(arena, probe);
  backend.linear(exec, operands.x, operands.weight, {}, operands.y);
  return {arena.occupancy(), queue.ledger()};
}

/// Operations (flops or bytes, as `work` says) per second of the best of several runs.
double best_rate(backend::Backend& backend, const Probe& probe, double work, double seconds) {
  memory::Arena arena = memory::Arena::laid_out(plan_probe(backend, probe).memory, backend.device_memory());
  backend::Queue queue(arena.mode());
  backend::Execution exec{arena, queue};
  const Operands operands(arena, probe);
  const auto start = std::chrono::steady_clock::now();
  double best = std::numeric_limits<double>::infinity();
  double elapsed = 0;
  while (elapsed < seconds) {
    const auto before = std::chrono::steady_clock::now();
    backend.linear(exec, operands.x, operands.weight, {}, operands.y);
    backend.finish();
    const auto after = std::chrono::steady_clock::now();
    best = std::min(best, std::chrono::duration<double>(after - before).count());
    elapsed = std::chrono::duration<double>(after - start).count();
  }
  return work / best;
}

/// The rate of the first of the probes that the backend multiplies in this way; 0: none.
double best_rate_of(backend::Backend& backend, backend::Op op, std::initializer_list<Probe> probes,
                    double seconds) {
  for (const Probe& probe : probes) {
    const backend::Cost cost = plan_probe(backend, probe).ledger.costs[0][static_cast<std::size_t>(op)];
    if (cost.flops > 0) return best_rate(backend, probe, cost.flops, seconds);
  }
  return 0;
}

std::uint64_t read_number(const std::filesystem::path& file) {
  std::ifstream stream(file);
  std::uint64_t number = 0;
  return stream >> number ? number : 0;
}

/// "name 123" of a file of such lines; 0 where it has none.
std::uint64_t number_of_line(const std::filesystem::path& file, std::string_view name) {
  std::ifstream stream(file);
  std::string word;
  std::uint64_t number = 0;
  while (stream >> word >> number) {
    if (word == name) return number;
  }
  return 0;
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

/// Bytes of code for CUDA devices in a program's file; read once, since a file in use stays as it is.
std::uint64_t device_code_bytes(const std::string& path) {
  static std::mutex mutex;
  static std::map<std::string, std::uint64_t> known;
  const std::lock_guard lock(mutex);
  const auto [file, is_new] = known.try_emplace(path, 0);
  if (is_new) file->second = section_bytes(path, ".nv_fatbin");
  return file->second;
}

// A megabyte of FP32 weights: stays in the second-level caches.
constexpr Probe compute{256, 512, 512};
constexpr double compute_flops = 2.0 * static_cast<double>(compute.rows * compute.width * compute.features);

Probe compute_with(WeightFormat format, std::int64_t rows = compute.rows) {
  return {rows, compute.width, compute.features, format};
}

// What tiles multiply in a moment takes long to lay out: more rows, which more weights meet.
constexpr Probe compute_bf16{512, 1024, 2048, DType::bf16};

/// What one control group's files say of its memory.
struct GroupFiles {
  const char* limit;  ///< "max" in version 2 reads as 0: none
  const char* used;   ///< with pages of files, which go when memory is wanted
  const char* cached;
};
constexpr GroupFiles version_1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};
constexpr GroupFiles version_2{"memory.max", "memory.current", "inactive_file"};

/// The group and those it is in, up to `root`: each may have a limit.
void add_limits(const std::filesystem::path& root, const std::filesystem::path& group,
                const GroupFiles& files, GroupMemory& memory) {
  for (std::filesystem::path at = group; at != at.parent_path(); at = at.parent_path()) {
    if (const std::uint64_t limit = read_number(at / files.limit); limit > 0) {
      const std::uint64_t used = read_number(at / files.used);
      const std::uint64_t kept = used - std::min(used, number_of_line(at / "memory.stat", files.cached));
      memory.limit = std::min(memory.limit, limit);
      memory.available = std::min(memory.available, limit - std::min(limit, kept));
    }
    if (at == root) break;
  }
}

double arithmetic_ceiling(backend::Op op, const MachineCeilings& ceilings) {
  const bool int8 = op == backend::Op::linear_int8 || op == backend::Op::gated_linear_int8;
  // Attention is multiplied as the products around it are.
  const bool bf16 = op == backend::Op::linear_bf16 || op == backend::Op::gated_linear_bf16 ||
                    op == backend::Op::attend_tile || op == backend::Op::attend_pages;
  const double own = int8   ? ceilings.int8_flops_per_second
                     : bf16 ? ceilings.bf16_flops_per_second
                            : ceilings.flops_per_second;
  // Cards are known by one ceiling of their arithmetic.
  return own > 0 ? own : ceilings.flops_per_second;
}

}  // namespace

GroupMemory memory_of_groups(const std::filesystem::path& root, const std::filesystem::path& membership) {
  GroupMemory memory;
  std::ifstream stream(membership);
  std::string line;
  while (std::getline(stream, line)) {  // "4:memory:/path", or "0::/path" in version 2
    const std::size_t name = line.find(':');
    const std::size_t path = name == std::string::npos ? name : line.find(":/", name + 1);
    if (path == std::string::npos) continue;
    const std::string controllers = line.substr(name + 1, path - name - 1);
    const std::string group = line.substr(path + 2);
    if (controllers.empty()) add_limits(root, root / group, version_2, memory);
    if (controllers == "memory") add_limits(root / "memory", root / "memory" / group, version_1, memory);
  }
  return memory;
}

MachineCeilings measure_ceilings(backend::Backend& backend, const CeilingEffort& effort) {
  const Probe stream{1, 2048, effort.stream_rows};  // 64 MiB of weights or more: comes from memory
  const double bytes = 4.0 * static_cast<double>(stream.width * stream.features);
  MachineCeilings ceilings{best_rate(backend, compute, compute_flops, effort.seconds),
                           best_rate(backend, stream, bytes, effort.seconds)};
  // Where many rows are multiplied in BF16, a single one still is in int8.
  ceilings.int8_flops_per_second =
      best_rate_of(backend, backend::Op::linear_int8, {compute_with(four_bits), compute_with(four_bits, 1)},
                   effort.seconds);
  ceilings.bf16_flops_per_second =
      best_rate_of(backend, backend::Op::linear_bf16, {compute_bf16}, effort.seconds);
  return ceilings;
}

std::vector<MachineCeilings> measure_all(const backend::Backends& backends) {
  std::vector<MachineCeilings> ceilings;
  for (std::size_t i = 0; i < backends.size(); ++i) ceilings.push_back(measure_ceilings(backends[i]));
  return ceilings;
}

ProcessMemory process_memory() {
  return {proc_bytes("/proc/self/status", "VmRSS"), proc_bytes("/proc/self/status", "VmHWM")};
}

std::uint64_t program_bytes(bool with_device_code) {
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
    if (!file.is_program) continue;
    const std::uint64_t unread = with_device_code ? 0 : device_code_bytes(path);
    bytes += file.bytes - std::min(file.bytes, file.resident + unread);
  }
  return bytes;
}

void reset_peak_resident() {
  std::ofstream("/proc/self/clear_refs") << "5";  // proc(5): resets VmHWM
}

std::uint64_t available_memory() {
  return std::min(proc_bytes("/proc/meminfo", "MemAvailable"), memory_of_groups("/sys/fs/cgroup").available);
}

std::uint64_t total_memory() {
  return std::min(proc_bytes("/proc/meminfo", "MemTotal"), memory_of_groups("/sys/fs/cgroup").limit);
}

double roofline_seconds(backend::Op op, const backend::Cost& cost, const MachineCeilings& ceilings) {
  const double flops = arithmetic_ceiling(op, ceilings);
  const double arithmetic = flops > 0 ? cost.flops / flops : 0;
  const double traffic =
      ceilings.bytes_per_second > 0
          ? static_cast<double>(cost.bytes_read + cost.bytes_written) / ceilings.bytes_per_second
          : 0;
  return std::max(arithmetic, traffic);
}

double roofline_seconds(const backend::Ledger& ledger, backend::Phase phase,
                        const MachineCeilings& ceilings) {
  double seconds = 0;
  const auto& costs = ledger.costs[static_cast<std::size_t>(phase)];
  for (std::size_t op = 0; op < backend::n_ops; ++op) {
    seconds += roofline_seconds(static_cast<backend::Op>(op), costs[op], ceilings);
  }
  return seconds;
}

}  // namespace galago::runtime
