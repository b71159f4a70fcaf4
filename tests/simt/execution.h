// Runs kernels: block after block, the threads of one as fibres that meet at barriers and collectives.
#pragma once

#include <cstddef>
#include <cstdint>

#include "simt/fault.h"

namespace galago::simt {

/// What a kernel launch consists of. `entry` calls the kernel with `params`.
struct Launch {
  const char* kernel;
  Dim3 grid, block;
  std::size_t shared_bytes;
  void (*entry)(const void* params);
  const void* params;
};

/// Throws KernelFault.
void run_launch(const Launch& launch);

/// Most threads of a block, and bytes of shared memory, as devices from compute capability 7.5 on have.
inline constexpr unsigned max_block_threads = 1024;
inline constexpr std::size_t max_shared_bytes = 227 * 1024;
inline constexpr unsigned warp_size = 32;

// --- what kernels see; set for the thread that runs ---

extern Dim3 threadIdx, blockIdx, blockDim, gridDim;

/// Waits for all threads of the block. `site` tells barriers of different places in the source apart.
void wait_for_block(unsigned site);
/// Waits for all lanes of the warp; each gives a value, the result is those of all 32.
const std::uint64_t* exchange_in_warp(std::uint64_t value, unsigned site);
/// Waits for all lanes of the warp; the last to come does `work` for all of them, with what each lane
/// brought.
void work_in_warp(void* brought, void (*work)(void* const* lanes), unsigned site);
/// Waits for all lanes of the warp and orders their accesses to shared memory.
void wait_for_warp(unsigned site);

unsigned running_thread();
/// Over all launches: tells one block's time from another's.
std::uint64_t n_blocks_begun();

}  // namespace galago::simt
