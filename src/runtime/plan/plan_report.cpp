// A plan as a table for people and as JSON for programs.
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

#include "galago/plan.h"
#include "runtime/report/words.h"

namespace galago {
namespace {

/// A line of the regions' table, the name in a column of `width`.
std::string region_line(std::size_t width, const std::string& name, std::uint64_t bytes,
                        const std::string& purpose) {
  return fmt::format("  {:<{}} {:>16} {:>14}  {}\n", name, width, bytes, runtime::mebibytes_text(bytes),
                     purpose);
}

std::size_t width_of_names(const Plan& plan) {
  std::size_t width = 12;
  for (const RegionPlan& region : plan.regions) width = std::max(width, region.name.size());
  return width;
}

/// "  layers 0 to 15 on cuda:0: 5000.0 MiB of 7168.0 MiB", a line a device, where there are several.
std::string devices_text(const Plan& plan) {
  std::string text;
  if (plan.devices.size() == 1) return text;
  for (const DevicePlan& device : plan.devices) {
    text += fmt::format(
        "  layers {} to {} on {}: {} of {}\n", device.first_layer, device.first_layer + device.n_layers - 1,
        device.name, runtime::mebibytes_text(device.peak_bytes), runtime::mebibytes_text(device.share_bytes));
  }
  return text;
}

nlohmann::ordered_json ceilings_json(const MachineCeilings& ceilings) {
  return {{"flops_per_second", ceilings.flops_per_second},
          {"int8_flops_per_second", ceilings.int8_flops_per_second},
          {"bf16_flops_per_second", ceilings.bf16_flops_per_second},
          {"bytes_per_second", ceilings.bytes_per_second}};
}

nlohmann::ordered_json devices_json(const Plan& plan) {
  auto devices = nlohmann::ordered_json::array();
  for (const DevicePlan& device : plan.devices) {
    devices.push_back({{"name", device.name},
                       {"first_layer", device.first_layer},
                       {"layers", device.n_layers},
                       {"peak_bytes", device.peak_bytes},
                       {"share_bytes", device.share_bytes},
                       {"ceilings", ceilings_json(device.ceilings)}});
  }
  return devices;
}

nlohmann::ordered_json regions_json(const Plan& plan) {
  auto regions = nlohmann::ordered_json::array();
  for (const RegionPlan& region : plan.regions) {
    regions.push_back({{"name", region.name}, {"bytes", region.bytes}, {"purpose", region.purpose}});
  }
  return regions;
}

nlohmann::ordered_json phase_regions_json(const Plan& plan, const PhasePlan& phase) {
  auto regions = nlohmann::ordered_json::object();
  for (std::size_t i = 0; i < phase.region_bytes.size(); ++i) {
    regions[plan.regions[i].name] = phase.region_bytes[i];
  }
  return regions;
}

nlohmann::ordered_json ladder_json(const Plan& plan) {
  auto ladder = nlohmann::ordered_json::array();
  for (const PlanCandidate& candidate : plan.ladder) {
    ladder.push_back(
        {{"choice", candidate.choice}, {"peak_bytes", candidate.peak_bytes}, {"fits", candidate.fits}});
  }
  return ladder;
}

nlohmann::ordered_json phases_json(const Plan& plan) {
  auto phases = nlohmann::ordered_json::array();
  for (const PhasePlan& phase : plan.phases) {
    phases.push_back({{"name", phase.name},
                      {"flops", phase.flops},
                      {"bytes_read", phase.bytes_read},
                      {"bytes_written", phase.bytes_written},
                      {"seconds", phase.seconds},
                      {"peak_bytes", phase.peak_bytes},
                      {"regions", phase_regions_json(plan, phase)}});
  }
  return phases;
}

}  // namespace

std::string choice_line(const Plan& plan) {
  if (plan.budget_bytes == 0) return "";
  return fmt::format("budget {}: {}; {} of {} bytes\n", runtime::mebibytes_text(plan.budget_bytes),
                     plan.choice, plan.peak_bytes, plan.budget_bytes);
}

std::string ladder_text(const Plan& plan) {
  std::string text = fmt::format("  {:<8} {:>16} {:>14}  {}\n", "", "bytes", "", "from the best downwards");
  bool is_chosen = false;
  std::uint64_t least = std::numeric_limits<std::uint64_t>::max();
  std::size_t left_out = 0;
  for (const PlanCandidate& candidate : plan.ladder) {
    // What needs no less than a better one is taken for no budget.
    if (candidate.peak_bytes >= least) {
      ++left_out;
      continue;
    }
    least = candidate.peak_bytes;
    const bool is_choice = candidate.fits && !is_chosen;
    is_chosen = is_chosen || is_choice;
    const char* const state = is_choice ? "chosen" : candidate.fits ? "fits" : "too big";
    text += fmt::format("{} {:<8} {:>16} {:>14}  {}\n", is_choice ? '>' : ' ', state, candidate.peak_bytes,
                        runtime::mebibytes_text(candidate.peak_bytes), candidate.choice);
  }
  if (left_out == 0) return text;
  return text + fmt::format("  and {} that need no less than a better one\n", left_out);
}

std::string to_text(const Plan& plan) {
  std::string text = fmt::format("{} ({})\n", plan.model, plan.family);
  text += fmt::format("  device {}; weights {}, tower {}, KV {}\n", plan.device, plan.precision,
                      plan.tower_precision, plan.kv_precision);
  text += devices_text(plan);
  text += fmt::format("  context {} tokens in {} pages of {}; prefill in chunks of {}; {} tokens a picture\n",
                      plan.context, plan.n_pages, plan.page_tokens, plan.prefill_chunk, plan.image_tokens);
  if (plan.window > 0 && plan.window < plan.context) {
    text +=
        fmt::format("  a token sees the first {} positions and the last {}; pages of others are used anew\n",
                    plan.sinks, plan.window);
  }
  if (plan.image_tiles > 1) {
    text += fmt::format("  up to {} tiles a picture, {} in the tower at once\n", plan.image_tiles,
                        plan.tile_batch);
  }
  if (plan.tower_staged)
    text += "  the tower is loaded to encode and then leaves its memory to the decoder\n";
  if (plan.streamed_layers > 0) {
    text += fmt::format("  {} layers are read from disk in every step\n", plan.streamed_layers);
  }
  if (plan.budget_bytes > 0) text += fmt::format("  {}", choice_line(plan));
  text += "\n";
  const std::size_t width = width_of_names(plan);
  text += fmt::format("  {:<{}} {:>16} {:>14}  {}\n", "region", width, "bytes", "", "for");
  std::uint64_t sum = 0;
  for (const RegionPlan& region : plan.regions) {
    if (region.bytes > 0) text += region_line(width, region.name, region.bytes, region.purpose);
    sum += region.bytes;
  }
  if (sum > plan.peak_bytes) {
    const std::uint64_t shared = sum - plan.peak_bytes;
    text += fmt::format("  {:<{}} {:>16} {:>14}  {}\n", "shared", width, fmt::format("-{}", shared),
                        fmt::format("-{}", runtime::mebibytes_text(shared)),
                        "regions that are not needed at once");
  }
  text += region_line(width, "total", plan.peak_bytes, "peak");
  text += fmt::format("\n  {:<12} {:>14} {:>10} {:>14} {:>14}\n", "phase", "memory", "GFLOP", "traffic",
                      "at least");
  for (const PhasePlan& phase : plan.phases) {
    text += fmt::format("  {:<12} {:>14} {:>10.3f} {:>14} {:>11.2f} ms\n", phase.name,
                        runtime::mebibytes_text(phase.peak_bytes), phase.flops / 1e9,
                        runtime::mebibytes_text(phase.bytes_read + phase.bytes_written), phase.seconds * 1e3);
  }
  text += "\n  at the ceilings: ";
  for (const DevicePlan& device : plan.devices) {
    if (&device != &plan.devices.front()) text += "; ";
    if (plan.devices.size() > 1) text += device.name + " ";
    text += runtime::ceilings_text(device.ceilings);
  }
  return text + "\n";
}

std::string to_json(const Plan& plan) {
  const nlohmann::ordered_json json = {{"model", plan.model},
                                       {"family", plan.family},
                                       {"chat_format", plan.chat_format},
                                       {"device", plan.device},
                                       {"devices", devices_json(plan)},
                                       {"peak_bytes", plan.peak_bytes},
                                       {"regions", regions_json(plan)},
                                       {"precision", plan.precision},
                                       {"embeddings_precision", plan.embeddings_precision},
                                       {"output_precision", plan.output_precision},
                                       {"tower_precision", plan.tower_precision},
                                       {"kv_precision", plan.kv_precision},
                                       {"context", plan.context},
                                       {"prefill_chunk", plan.prefill_chunk},
                                       {"mlp_rows", plan.mlp_rows},
                                       {"image_tokens", plan.image_tokens},
                                       {"image_tiles", plan.image_tiles},
                                       {"tile_batch", plan.tile_batch},
                                       {"tower_staged", plan.tower_staged},
                                       {"streamed_layers", plan.streamed_layers},
                                       {"batch", plan.batch},
                                       {"encode_batch", plan.encode_batch},
                                       {"page_tokens", plan.page_tokens},
                                       {"pages", plan.n_pages},
                                       {"window", plan.window},
                                       {"sinks", plan.sinks},
                                       {"phases", phases_json(plan)},
                                       {"choice", plan.choice},
                                       {"budget_bytes", plan.budget_bytes},
                                       {"ladder", ladder_json(plan)},
                                       {"ceilings", ceilings_json(plan.ceilings)}};
  return json.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

}  // namespace galago
