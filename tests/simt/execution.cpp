#include "simt/execution.h"

#include <fmt/format.h>

#include <array>
#include <optional>
#include <utility>

#include "simt/fibre.h"
#include "simt/shared_memory.h"

namespace galago::simt {

Dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

enum class State : std::uint8_t { ready, at_barrier, at_collective, done };

struct Thread {
  Context context;
  Dim3 index;
  State state = State::ready;
  unsigned site = 0;  // of the barrier or collective that it waits at
};

struct Warp {
  // Two, so that a lane that runs ahead to the next collective leaves this one's values to be read.
  std::array<std::array<std::uint64_t, warp_size>, 2> values;
  std::uint64_t n_collectives = 0;
  std::uint32_t epoch = 1;
  unsigned n_waiting = 0;
};

/// The one launch that runs; kernels do not nest.
struct Machine {
  FibreStacks stacks;
  std::vector<Thread> threads;
  std::vector<Warp> warps;
  Context scheduler;
  const Launch* launch = nullptr;
  unsigned running = 0;  // index of the thread
  unsigned n_at_barrier = 0;
  unsigned n_done = 0;
  std::uint32_t block_epoch = 1;
  std::uint64_t n_blocks = 0;  // begun so far
  std::optional<Fault> fault;
};

Machine& machine() {
  static Machine machine;
  return machine;
}

void leave_fibre() {
  Machine& m = machine();
  switch_context(m.threads[m.running].context, m.scheduler);
}

void run_thread() {
  Machine& m = machine();
  enter_fibre(m.scheduler);
  try {
    m.launch->entry(m.launch->params);
  } catch (const KernelFault& fault) {
    m.fault = fault.fault;
  }
  m.threads[m.running].state = State::done;
  ++m.n_done;
  leave_fibre();
}

void resume(unsigned index) {
  Machine& m = machine();
  m.running = index;
  threadIdx = m.threads[index].index;
  switch_context(m.scheduler, m.threads[index].context);
  if (m.fault) throw KernelFault{*m.fault};
}

/// Lets all threads run that can. Those of a warp take turns as long as any can, so that they meet soon.
bool run_ready() {
  Machine& m = machine();
  bool any = false;
  for (unsigned first = 0; first < m.threads.size(); first += warp_size) {
    for (bool again = true; again;) {
      again = false;
      for (unsigned i = first; i < first + warp_size; ++i) {
        if (m.threads[i].state != State::ready) continue;
        resume(i);
        again = any = true;
      }
    }
  }
  return any;
}

/// Opens the barrier if all threads wait at one and the same.
bool open_barrier() {
  Machine& m = machine();
  if (m.n_at_barrier != m.threads.size()) return false;
  for (const Thread& thread : m.threads) {
    if (thread.site != m.threads[0].site) return false;
  }
  for (Thread& thread : m.threads) thread.state = State::ready;
  m.n_at_barrier = 0;
  ++m.block_epoch;
  return true;
}

const char* doing(State state) {
  return state == State::done         ? "has ended"
         : state == State::at_barrier ? "waits at a barrier"
                                      : "waits for its warp";
}

/// Nobody can go on: names a thread that waits and one that does not come.
[[noreturn]] void report_divergence() {
  Machine& m = machine();
  for (unsigned i = 0; i < m.threads.size(); ++i) {
    const Thread& waiting = m.threads[i];
    if (waiting.state == State::done) continue;
    const bool for_warp = waiting.state == State::at_collective;
    const unsigned first = for_warp ? i / warp_size * warp_size : 0;
    const unsigned end = for_warp ? first + warp_size : static_cast<unsigned>(m.threads.size());
    for (unsigned j = first; j < end; ++j) {
      const Thread& other = m.threads[j];
      if (other.state == waiting.state && other.site == waiting.site) continue;
      m.running = i;
      threadIdx = waiting.index;
      fail_kernel(Mistake::divergent_barrier,
                  fmt::format("{} (line {}), but thread ({}, {}, {}) {}{}", doing(waiting.state),
                              waiting.site, other.index.x, other.index.y, other.index.z, doing(other.state),
                              other.state == State::done ? "" : fmt::format(" at line {}", other.site)));
    }
  }
  fail_kernel(Mistake::divergent_barrier, "no thread can go on");
}

void run_block(const Launch& launch) {
  Machine& m = machine();
  shared_memory().begin_block(launch.shared_bytes);
  for (Warp& warp : m.warps) {
    warp.n_waiting = 0;
    warp.epoch = 1;
  }
  m.n_at_barrier = m.n_done = 0;
  m.block_epoch = 1;
  ++m.n_blocks;
  m.fault.reset();
  for (unsigned i = 0; i < m.threads.size(); ++i) {
    m.threads[i].state = State::ready;
    m.stacks.prepare(i, m.threads[i].context, run_thread);
  }
  while (m.n_done < m.threads.size()) {
    if (!run_ready() && !open_barrier()) report_divergence();
  }
}

void check_launch(const Launch& launch) {
  const Dim3& block = launch.block;
  const Dim3& grid = launch.grid;
  const std::uint64_t n_threads = std::uint64_t{block.x} * block.y * block.z;
  if (n_threads == 0 || n_threads > max_block_threads || n_threads % warp_size != 0) {
    fail_kernel(Mistake::impossible_launch,
                fmt::format("a block of {} threads, expected whole warps and at most {} threads", n_threads,
                            max_block_threads));
  }
  if (grid.x == 0 || grid.x > 2147483647U || grid.y == 0 || grid.y > 65535 || grid.z == 0 || grid.z > 65535) {
    fail_kernel(
        Mistake::impossible_launch,
        fmt::format("a grid of {} x {} x {} blocks, expected 1 to 65535 in y and z", grid.x, grid.y, grid.z));
  }
  if (launch.shared_bytes > max_shared_bytes) {
    fail_kernel(Mistake::impossible_launch, fmt::format("{} bytes of shared memory, a block has at most {}",
                                                        launch.shared_bytes, max_shared_bytes));
  }
}

}  // namespace

void run_launch(const Launch& launch) {
  Machine& m = machine();
  m.launch = &launch;
  m.running = 0;
  threadIdx = blockIdx = {0, 0, 0};
  blockDim = launch.block;
  gridDim = launch.grid;
  check_launch(launch);
  const unsigned n_threads = launch.block.x * launch.block.y * launch.block.z;
  m.threads.resize(n_threads);
  m.warps.resize(n_threads / warp_size);
  for (unsigned i = 0; i < n_threads; ++i) {
    m.threads[i].index = {i % launch.block.x, i / launch.block.x % launch.block.y,
                          i / (launch.block.x * launch.block.y)};
  }
  for (unsigned z = 0; z < launch.grid.z; ++z) {
    for (unsigned y = 0; y < launch.grid.y; ++y) {
      for (unsigned x = 0; x < launch.grid.x; ++x) {
        blockIdx = {x, y, z};
        run_block(launch);
      }
    }
  }
}

void wait_for_block(unsigned site) {
  Machine& m = machine();
  Thread& thread = m.threads[m.running];
  thread.state = State::at_barrier;
  thread.site = site;
  ++m.n_at_barrier;
  leave_fibre();
}

namespace {

/// As exchange_in_warp(); the last lane does `work` before any goes on.
template <class Work>
const std::uint64_t* meet_in_warp(std::uint64_t value, unsigned site, Work&& work) {
  Machine& m = machine();
  const unsigned index = m.running;
  Warp& warp = m.warps[index / warp_size];
  Thread& thread = m.threads[index];
  // The first to come opens a collective; the last one lets all go on.
  auto& values = warp.values[warp.n_collectives % 2];
  values[index % warp_size] = value;
  thread.site = site;
  if (++warp.n_waiting < warp_size) {
    thread.state = State::at_collective;
    leave_fibre();
    return values.data();
  }
  const unsigned first = index / warp_size * warp_size;
  for (unsigned i = first; i < first + warp_size; ++i) {
    if (m.threads[i].site != site) {
      thread.state = State::at_collective;
      leave_fibre();  // for good: report_divergence() names the two
    }
  }
  work(values);
  for (unsigned i = first; i < first + warp_size; ++i) m.threads[i].state = State::ready;
  warp.n_waiting = 0;
  ++warp.n_collectives;
  return values.data();
}

}  // namespace

const std::uint64_t* exchange_in_warp(std::uint64_t value, unsigned site) {
  return meet_in_warp(value, site, [](const auto& /*values*/) {});
}

void work_in_warp(void* brought, void (*work)(void* const* lanes), unsigned site) {
  // What lanes bring lies on their own stacks, which wait here meanwhile.
  meet_in_warp(reinterpret_cast<std::uintptr_t>(brought), site, [work](const auto& values) {
    void* lanes[warp_size];
    for (unsigned i = 0; i < warp_size; ++i) lanes[i] = reinterpret_cast<void*>(values[i]);
    work(lanes);
  });
}

unsigned running_thread() {
  return machine().running;
}

std::uint64_t n_blocks_begun() {
  return machine().n_blocks;
}

void wait_for_warp(unsigned site) {
  Machine& m = machine();
  Warp& warp = m.warps[m.running / warp_size];
  const std::uint32_t epoch = warp.epoch;
  exchange_in_warp(0, site);
  // Whoever leaves first begins the new epoch for all.
  if (warp.epoch == epoch) ++warp.epoch;
}

Touch present_touch() {
  const Machine& m = machine();
  return {m.running, m.block_epoch, m.warps[m.running / warp_size].epoch};
}

void fail_kernel(Mistake mistake, std::string what) {
  const Launch* launch = machine().launch;
  throw KernelFault{{mistake, launch == nullptr ? "" : launch->kernel, blockIdx, threadIdx, std::move(what)}};
}

std::string Fault::to_string() const {
  return fmt::format("kernel {}, block ({}, {}, {}), thread ({}, {}, {}): {}", kernel, block.x, block.y,
                     block.z, thread.x, thread.y, thread.z, what);
}

}  // namespace galago::simt
