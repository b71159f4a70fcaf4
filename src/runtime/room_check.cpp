#include "runtime/room_check.h"

#include <fmt/format.h>

#include <string>

#include "base/fail.h"
#include "runtime/machine.h"

namespace galago::runtime {
namespace {

/// The best that fits in what is free now, in words.
std::string what_fits(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                      backend::Backend& backend, Bytes budget) {
  EngineOptions within = options;
  within.memory_limit = budget;
  try {
    const Settled settled = settle(model, within, demand, backend);
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

}  // namespace

void check_room(const Blueprint& model, const EngineOptions& options, const Demand& demand,
                backend::Backend& backend, const Settled& settled) {
  memory::DeviceMemory* const device = backend.device_memory();
  if (device == nullptr) {
    check_machine(settled.plan, options);
    return;
  }
  const Rehearsal& rehearsal = settled.rehearsal;
  const Bytes on_device = rehearsal.stages.front().memory.device_bytes();
  const Bytes on_host = rehearsal.stages.front().memory.total() - on_device + rehearsal.outside.runtime +
                        rehearsal.outside.decoding;
  const Bytes available = available_memory();
  if (available > 0 && on_host > available) {
    fail(ErrorCode::memory, "{} needs {} bytes of the machine's own memory besides the device's, {} are free",
         model.checkpoint.directory.string(), on_host, available);
  }
  const memory::DeviceRoom room = device->room();
  if (on_device <= room.free) return;
  // Whatever of a configuration stays with the host only leaves more of the budget unused.
  const Bytes budget = room.free + room.driver + rehearsal.outside.runtime + rehearsal.outside.decoding;
  fail(ErrorCode::memory, "{} has {} of {} bytes free, {} are needed there: {} too few; {}",
       backend.description(), room.free, room.total, on_device, on_device - room.free,
       what_fits(model, options, demand, backend, budget));
}

}  // namespace galago::runtime
