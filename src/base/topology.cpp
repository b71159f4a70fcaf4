#include "base/topology.h"

#include <sched.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <utility>

namespace galago {
namespace {

/// The numbers of a list such as "0-2,5"; empty where it is none.
std::vector<int> parse_list(const std::string& text) {
  std::vector<int> numbers;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at < end) {
    int first = 0;
    const auto begun = std::from_chars(at, end, first);
    if (begun.ec != std::errc()) return {};
    int last = first;
    at = begun.ptr;
    if (at < end && *at == '-') {
      const auto ended = std::from_chars(at + 1, end, last);
      if (ended.ec != std::errc() || last < first) return {};
      at = ended.ptr;
    }
    for (int number = first; number <= last; ++number) numbers.push_back(number);
    if (at < end && *at != ',') return {};
    ++at;
  }
  return numbers;
}

/// Cores' worth of time that the cgroup grants, rounded up; 0 where it sets no limit.
int granted_cores() {
  std::ifstream file("/sys/fs/cgroup/cpu.max");
  double quota = 0;
  double period = 0;
  if (!(file >> quota >> period) || period <= 0) return 0;
  return std::max(1, static_cast<int>(quota / period + 0.999));
}

}  // namespace

std::vector<Core> cores_of(const std::vector<int>& processors, const std::filesystem::path& system) {
  std::map<std::pair<int, int>, Core> cores;  // by package and core
  for (const int processor : processors) {
    const std::filesystem::path folder = system / "cpu" / ("cpu" + std::to_string(processor)) / "topology";
    int package = 0;
    int core = 0;
    if (!(std::ifstream(folder / "physical_package_id") >> package) ||
        !(std::ifstream(folder / "core_id") >> core)) {
      cores.clear();
      break;
    }
    cores[{package, core}].push_back(processor);
  }
  std::vector<Core> found;
  found.reserve(processors.size());
  for (auto& [place, core] : cores) found.push_back(std::move(core));
  if (cores.empty()) {
    for (const int processor : processors) found.push_back({processor});
  }
  std::sort(found.begin(), found.end());
  return found;
}

std::vector<int> allowed_processors() {
  std::vector<int> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    for (int processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (CPU_ISSET(static_cast<std::size_t>(processor), &set)) processors.push_back(processor);
    }
    return processors;
  }
  // More processors than the mask has room for.
  for (int processor = 0; processor < static_cast<int>(std::thread::hardware_concurrency()); ++processor) {
    processors.push_back(processor);
  }
  return processors;
}

int usable_cores() {
  static const int usable = [] {
    const int cores = static_cast<int>(cores_of(allowed_processors()).size());
    const int granted = granted_cores();
    return std::max(1, granted > 0 ? std::min(cores, granted) : cores);
  }();
  return usable;
}

std::vector<int> memory_nodes(const std::filesystem::path& system) {
  std::string list;
  std::getline(std::ifstream(system / "node" / "has_memory"), list);
  std::vector<int> nodes = parse_list(list);
  if (nodes.empty()) nodes.push_back(0);
  return nodes;
}

}  // namespace galago
