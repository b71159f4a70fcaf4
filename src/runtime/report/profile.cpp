// A profile beside the machine's ceilings, as a table for people and as JSON for programs.
#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>

#include "galago/report.h"
#include "runtime/backend_choice.h"
#include "runtime/plan/machine.h"
#include "runtime/report/words.h"

namespace galago {
namespace {

using runtime::time_text;

double seconds_of_all(const Profile& profile) {
  double sum = 0;
  for (const PhaseTime& phase : profile.phases) sum += phase.seconds;
  return sum;
}

/// What a phase took beyond its operations: sampling, text, calls.
double seconds_between(const Profile& profile, const PhaseTime& phase) {
  double between = phase.seconds;
  for (const OpUse& op : profile.ops) between -= op.phase == phase.name ? op.seconds : 0;
  return std::max(between, 0.0);
}

std::string op_line(const OpUse& op, double all) {
  const auto rate = [&](double work) { return op.seconds > 0 ? work / op.seconds / 1e9 : 0; };
  const std::uint64_t bytes = op.bytes_read + op.bytes_written;
  const std::string reached =
      op.roofline_seconds > 0 ? fmt::format("{:.0f} %", op.roofline_seconds / op.seconds * 100) : "-";
  return fmt::format("  {:<8} {:<18} {:>7} {:>11} {:>7.1f} % {:>9.3f} {:>12} {:>8.1f} {:>7.2f} {:>8}\n",
                     op.phase, op.op, op.calls, time_text(op.seconds), all > 0 ? op.seconds / all * 100 : 0,
                     op.flops / 1e9, runtime::mebibytes_text(bytes), rate(op.flops),
                     rate(static_cast<double>(bytes)), reached);
}

std::string rest_line(const std::string& phase, const std::string& what, double seconds, double all) {
  return fmt::format("  {:<8} {:<18} {:>7} {:>11} {:>7.1f} %\n", phase, what, "", time_text(seconds),
                     all > 0 ? seconds / all * 100 : 0);
}

nlohmann::ordered_json ops_json(const Profile& profile, double all) {
  auto ops = nlohmann::ordered_json::array();
  for (const OpUse& op : profile.ops) {
    ops.push_back({{"phase", op.phase},
                   {"op", op.op},
                   {"calls", op.calls},
                   {"seconds", op.seconds},
                   {"share", all > 0 ? op.seconds / all : 0},
                   {"flops", op.flops},
                   {"bytes_read", op.bytes_read},
                   {"bytes_written", op.bytes_written},
                   {"roofline_seconds", op.roofline_seconds},
                   {"roofline_fraction", op.seconds > 0 ? op.roofline_seconds / op.seconds : 0}});
  }
  return ops;
}

backend::Op op_named(std::string_view name) {
  std::size_t op = 0;
  while (op + 1 < backend::n_ops && name_of(static_cast<backend::Op>(op)) != name) ++op;
  return static_cast<backend::Op>(op);
}

}  // namespace

MachineCeilings measure_ceilings(const EngineOptions& options) {
  const auto backends = runtime::open_backends(options);
  // An operation's time on several devices cannot be held against one of them.
  if (backends.size() > 1) return {};
  return runtime::measure_ceilings(*backends.front());
}

void hold_against(const MachineCeilings& ceilings, Profile& profile) {
  profile.ceilings = ceilings;
  for (OpUse& op : profile.ops) {
    const backend::Cost cost{op.flops, op.bytes_read, op.bytes_written};
    op.roofline_seconds = runtime::roofline_seconds(op_named(op.op), cost, ceilings);
  }
}

std::string to_text(const Profile& profile) {
  const double all = seconds_of_all(profile);
  std::string text =
      fmt::format("  {:<8} {:<18} {:>7} {:>11} {:>9} {:>9} {:>12} {:>8} {:>7} {:>8}\n", "phase", "operation",
                  "calls", "time", "share", "GFLOP", "traffic", "GFLOP/s", "GB/s", "of best");
  for (const PhaseTime& phase : profile.phases) {
    bool has_ops = false;
    for (const OpUse& op : profile.ops) {
      if (op.phase != phase.name) continue;
      has_ops = true;
      text += op_line(op, all);
    }
    text += rest_line(phase.name, has_ops ? "between" : "all", seconds_between(profile, phase), all);
  }
  const MachineCeilings& ceilings = profile.ceilings;
  text += fmt::format("  {:<8} {:<18} {:>7} {:>11}\n", "all", "", "", time_text(all));
  if (ceilings.flops_per_second == 0) return text;
  return text + "  ceilings: " + runtime::ceilings_text(ceilings) + "\n";
}

std::string to_json(const Profile& profile) {
  auto phases = nlohmann::ordered_json::array();
  for (const PhaseTime& phase : profile.phases) {
    phases.push_back({{"name", phase.name},
                      {"seconds", phase.seconds},
                      {"between_seconds", seconds_between(profile, phase)}});
  }
  const double all = seconds_of_all(profile);
  const nlohmann::ordered_json json = {{"seconds", all},
                                       {"phases", phases},
                                       {"ops", ops_json(profile, all)},
                                       {"ceilings",
                                        {{"flops_per_second", profile.ceilings.flops_per_second},
                                         {"int8_flops_per_second", profile.ceilings.int8_flops_per_second},
                                         {"bf16_flops_per_second", profile.ceilings.bf16_flops_per_second},
                                         {"bytes_per_second", profile.ceilings.bytes_per_second}}}};
  return json.dump(2) + "\n";
}

}  // namespace galago
