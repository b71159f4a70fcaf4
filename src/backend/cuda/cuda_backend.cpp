#include "backend/cuda/cuda_backend.h"

#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

std::string CudaBackend::name() const {
  return device_.word();
}

std::string CudaBackend::description() const {
  return device_.description();
}

void CudaBackend::repeat(Execution& exec, const StepKey& key, const std::function<void()>& work) {
  graphs_.run(exec, key, work);
}

std::unique_ptr<Backend> make_backend(int device, CudaProducts products) {
  return std::make_unique<CudaBackend>(device, products);
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
