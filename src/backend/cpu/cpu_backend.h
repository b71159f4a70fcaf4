// The CPU backend: ops split over threads, kernels chosen for the machine.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace galago::backend {

/// What products compute in.
enum class Products {
  exact,    ///< FP32: weights are widened, exact to rounding
  rounded,  ///< activations are rounded first where that is several times faster: to int8 (in groups of 32)
            ///< for quants of 4 bits, and with VNNI of 8; with many rows to BF16, as their weights are, for
            ///< 16-bit weights and in attention where the machine multiplies it, with AMX for quants, too
};

/// `n_threads` 0: one per usable core. The instruction set is the widest that the machine has, or what the
/// environment variable GALAGO_ISA names (portable, avx2, avx_vnni, avx512, avx512_vnni, avx512_bf16,
/// amx). Throws Error{usage} for one that the machine lacks.
std::unique_ptr<Backend> make_cpu_backend(int n_threads, Products products = Products::exact);

}  // namespace galago::backend
