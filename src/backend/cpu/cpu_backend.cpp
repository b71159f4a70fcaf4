#include "backend/cpu/cpu_backend.h"

#include <fmt/format.h>

#include "backend/cpu/cpu_backend_class.h"
#include "backend/cpu/kernel_choice.h"
#include "base/topology.h"

namespace galago::backend {

CpuBackend::CpuBackend(int n_threads, Products products)
    : kernels_(choose_kernels()), products_(products), pool_(n_threads > 0 ? n_threads : usable_cores()) {}

std::string CpuBackend::name() const {
  return "cpu";
}

std::string CpuBackend::description() const {
  return fmt::format("{}, {} thread{}", kernels_.name, pool_.n_threads(), pool_.n_threads() == 1 ? "" : "s");
}

std::unique_ptr<Backend> make_cpu_backend(int n_threads, Products products) {
  return std::make_unique<CpuBackend>(n_threads, products);
}

}  // namespace galago::backend
