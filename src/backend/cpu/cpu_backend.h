// The CPU backend: ops split over threads, kernels chosen for the machine.
#pragma once

#include <memory>

#include "backend/backend.h"

namespace galago::backend {

/// What products with weights of 4 bits compute in. Other weights: always FP32.
enum class QuantisedProducts {
  fp32,  ///< weights are widened: exact to rounding
  int8,  ///< activations are rounded to int8 in groups of 32: several times faster
};

/// `n_threads` 0: one per usable core. The instruction set is the widest that the machine has, or what the
/// environment variable GALAGO_ISA names (portable, avx2, avx512). Throws Error{usage} for one that the
/// machine lacks.
std::unique_ptr<Backend> make_cpu_backend(int n_threads,
                                          QuantisedProducts products = QuantisedProducts::fp32);

}  // namespace galago::backend
