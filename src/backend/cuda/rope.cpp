// Rotary positions.
#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

void CudaBackend::rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                                   std::span<float> frequencies) {
  const Cost cost{20.0 * static_cast<double>(frequencies.size()), 0, frequencies.size_bytes()};
  exec.queue.submit(Op::rope, cost, [&] {
    device_.check(kernels_of_device::rope_frequencies(device_.stream(), base, dimensions, frequencies.data(),
                                                      static_cast<std::int64_t>(frequencies.size())),
                  "rope_frequencies");
  });
}

void CudaBackend::rope_table(Execution& exec, std::span<const SequenceRows> sequences,
                             const Weight& inverse_frequencies, float scale, const Matrix& table) {
  std::int64_t n_rows = 0;
  for (const SequenceRows& rows : sequences) n_rows += rows.n_rows;
  const Cost cost{20.0 * static_cast<double>(n_rows * table.cols), inverse_frequencies.bytes(),
                  static_cast<Bytes>(n_rows * table.cols) * sizeof(float)};
  exec.queue.submit(Op::rope, cost, [&] {
    for (const SequenceRows& rows : sequences) {
      device_.check(
          kernels_of_device::rope_table(device_.stream(), floats(inverse_frequencies), rows.first_position,
                                        scale, rows_of(table.slice_rows(rows.first_row, rows.n_rows))),
          "rope_table");
    }
  });
}

void CudaBackend::rope(Execution& exec, const Matrix& x, std::int64_t head_size, const Matrix& table) {
  const Cost cost{3.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + bytes_of(table), bytes_of(x)};
  exec.queue.submit(Op::rope, cost, [&] {
    device_.check(kernels_of_device::rope(device_.stream(), rows_of(x), head_size, rows_of(table)), "rope");
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
