#include "runtime/report/words.h"

#include <fmt/format.h>

namespace galago::runtime {

std::string time_text(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.1f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  return fmt::format("{:.3f} s", seconds);
}

std::string mebibytes_text(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string ceilings_text(const MachineCeilings& ceilings) {
  std::string rounded;
  if (ceilings.int8_flops_per_second > 0)
    rounded += fmt::format(", {:.1f} with int8", ceilings.int8_flops_per_second / 1e9);
  if (ceilings.bf16_flops_per_second > 0)
    rounded += fmt::format(", {:.1f} with BF16", ceilings.bf16_flops_per_second / 1e9);
  return fmt::format("{:.1f} GFLOP/s{}{}, reads {:.1f} GB/s", ceilings.flops_per_second / 1e9,
                     rounded.empty() ? "" : " in FP32", rounded, ceilings.bytes_per_second / 1e9);
}

std::string region_text(std::string_view region, std::string_view device, std::size_t n_devices) {
  return n_devices == 1 ? std::string(region) : fmt::format("{} {}", device, region);
}

}  // namespace galago::runtime
