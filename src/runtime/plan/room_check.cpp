#include "runtime/plan/room_check.h"

#include <fmt/format.h>

#include <string>

#include "base/fail.h"
#include "runtime/plan/machine.h"

namespace galago::runtime {
namespace {

/// The best that fits in what is free now, in words.
std::string what_fits(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                      const backend::Backends& backends, Bytes budget) {
  EngineOptions within = options;
  within.memory_limit = budget;
  try {
    const Settled settled = settle(model, within, demand, backends);
    return fmt::format("what fits now is {}: --memory {}", settled.plan.choice, budget);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::memory) throw;
    return fmt::format("no configuration fits now ({})", error.what());
  }
}

/// The plan, or the budget, is not above what this machine has.
void check_machine(const Plan& plan, const EngineOptions& options) {
  const std::uint64_t total = total_memory();
  if (total > 0 && options.memory_limit > total) {
    fail(ErrorCode::memory, "a budget of {} bytes was given, this machine has {}", options.memory_limit,
         total);
  }
  const std::uint64_t available = available_memory();
  if (available == 0 || plan.peak_bytes <= available) return;
  fail(ErrorCode::memory,
       "{} needs {} bytes and the machine has {} free: {} bytes too few; --memory {} finds a configuration "
       "that fits, if there is one",
       plan.model, plan.peak_bytes, available, plan.peak_bytes - available, available);
}

/// The device has room for its stage.
void check_device(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                  const backend::Backends& backends, const Rehearsal& rehearsal, std::size_t stage) {
  backend::Backend& backend = backends[stage];
  const memory::DeviceRoom room = backend.device_memory()->room();
  const Bytes needed = rehearsal.stages[stage].memory.device_bytes();
  if (needed <= room.free) return;
  const std::string sentence =
      fmt::format("{} ({}) has {} of {} bytes free, {} are needed there: {} too few", backend.name(),
                  backend.description(), room.free, room.total, needed, needed - room.free);
  if (backends.size() > 1) {
    fail(ErrorCode::memory, "{}; leave it fewer layers (--split), or its share out", sentence);
  }
  // Whatever of a configuration stays with the host only leaves more of the budget unused.
  const Bytes budget = room.free + room.driver + rehearsal.outside.runtime + rehearsal.outside.decoding;
  fail(ErrorCode::memory, "{}; {}", sentence, what_fits(model, options, demand, backends, budget));
}

}  // namespace

void check_room(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                const backend::Backends& backends, const Settled& settled) {
  const Rehearsal& rehearsal = settled.rehearsal;
  if (backends.size() == 1 && rehearsal.stages.front().on_host) return check_machine(settled.plan, options);
  const Bytes available = available_memory();
  if (available > 0 && rehearsal.host_bytes() > available) {
    fail(ErrorCode::memory, "{} needs {} bytes of the machine's own memory besides the device's, {} are free",
         model.checkpoint.directory.string(), rehearsal.host_bytes(), available);
  }
  for (std::size_t i = 0; i < backends.size(); ++i) {
    if (!rehearsal.stages[i].on_host) check_device(model, options, demand, backends, rehearsal, i);
  }
}

}  // namespace galago::runtime
