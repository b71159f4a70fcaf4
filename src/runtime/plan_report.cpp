// A plan as a table for people and as JSON for programs.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "galago/plan.h"

namespace galago {
namespace {

std::string mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

std::string region_line(const std::string& name, std::uint64_t bytes, const std::string& purpose) {
  return fmt::format("  {:<12} {:>16} {:>14}  {}\n", name, bytes, mebibytes(bytes), purpose);
}

nlohmann::ordered_json regions_json(const Plan& plan) {
  auto regions = nlohmann::ordered_json::array();
  for (const RegionPlan& region : plan.regions) {
    regions.push_back({{"name", region.name}, {"bytes", region.bytes}, {"purpose", region.purpose}});
  }
  return regions;
}

nlohmann::ordered_json phases_json(const Plan& plan) {
  auto phases = nlohmann::ordered_json::array();
  for (const PhasePlan& phase : plan.phases) {
    phases.push_back({{"name", phase.name},
                      {"flops", phase.flops},
                      {"bytes_read", phase.bytes_read},
                      {"bytes_written", phase.bytes_written},
                      {"seconds", phase.seconds}});
  }
  return phases;
}

}  // namespace

std::string to_text(const Plan& plan) {
  std::string text = fmt::format("{} ({})\n", plan.model, plan.family);
  text += fmt::format("  device {}; weights {}, tower {}, KV {}\n", plan.device, plan.precision,
                      plan.tower_precision, plan.kv_precision);
  text += fmt::format("  context {} tokens in {} pages of {}; prefill in chunks of {}; {} tokens a picture\n",
                      plan.context, plan.n_pages, plan.page_tokens, plan.prefill_chunk, plan.image_tokens);
  if (plan.image_tiles > 1) {
    text += fmt::format("  up to {} tiles a picture, {} in the tower at once\n", plan.image_tiles,
                        plan.tile_batch);
  }
  text += "\n";
  text += fmt::format("  {:<12} {:>16} {:>14}  {}\n", "region", "bytes", "", "for");
  for (const RegionPlan& region : plan.regions)
    text += region_line(region.name, region.bytes, region.purpose);
  text += region_line("total", plan.peak_bytes, "peak");
  text += fmt::format("\n  {:<12} {:>10} {:>14} {:>14}\n", "phase", "GFLOP", "traffic", "at least");
  for (const PhasePlan& phase : plan.phases) {
    text += fmt::format("  {:<12} {:>10.3f} {:>14} {:>11.2f} ms\n", phase.name, phase.flops / 1e9,
                        mebibytes(phase.bytes_read + phase.bytes_written), phase.seconds * 1e3);
  }
  text += fmt::format("\n  at the ceilings measured now: {:.1f} GFLOP/s in FP32, {:.1f} GB/s\n",
                      plan.ceilings.flops_per_second / 1e9, plan.ceilings.bytes_per_second / 1e9);
  return text;
}

std::string to_json(const Plan& plan) {
  const nlohmann::ordered_json json = {{"model", plan.model},
                                       {"family", plan.family},
                                       {"chat_format", plan.chat_format},
                                       {"device", plan.device},
                                       {"peak_bytes", plan.peak_bytes},
                                       {"regions", regions_json(plan)},
                                       {"precision", plan.precision},
                                       {"tower_precision", plan.tower_precision},
                                       {"kv_precision", plan.kv_precision},
                                       {"context", plan.context},
                                       {"prefill_chunk", plan.prefill_chunk},
                                       {"image_tokens", plan.image_tokens},
                                       {"image_tiles", plan.image_tiles},
                                       {"tile_batch", plan.tile_batch},
                                       {"page_tokens", plan.page_tokens},
                                       {"pages", plan.n_pages},
                                       {"phases", phases_json(plan)},
                                       {"ceilings",
                                        {{"flops_per_second", plan.ceilings.flops_per_second},
                                         {"bytes_per_second", plan.ceilings.bytes_per_second}}}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace galago
