// Rotary positions.
#include "backend/cuda/cuda_backend_class.h"
#include "backend/cuda/step_rows.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

void CudaBackend::rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                                   std::span<float> frequencies) {
  exec.queue.submit(Op::rope, costs::rope_frequencies(frequencies), [&] {
    device_.check(kernels_of_device::rope_frequencies(device_.stream(), base, dimensions, frequencies.data(),
                                                      static_cast<std::int64_t>(frequencies.size())),
                  "rope_frequencies");
  });
}

void CudaBackend::rope_table(Execution& exec, const StepRows& rows, const Weight& inverse_frequencies,
                             float scale, const Matrix& table) {
  exec.queue.submit(Op::rope, costs::rope_table(rows.sequences, inverse_frequencies, table), [&] {
    const DeviceRows on_device = device_rows(rows, rows.first_row());
    device_.check(
        kernels_of_device::rope_table(device_.stream(), floats(inverse_frequencies), on_device.positions,
                                      scale, rows_of(table.slice_rows(rows.first_row(), rows.n_rows()))),
        "rope_table");
  });
}

void CudaBackend::rope(Execution& exec, const Matrix& x, std::int64_t head_size, const Matrix& table) {
  exec.queue.submit(Op::rope, costs::rope(x, table), [&] {
    device_.check(kernels_of_device::rope(device_.stream(), rows_of(x), head_size, rows_of(table)), "rope");
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
