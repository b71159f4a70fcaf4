// Rotary positions.
#include <cmath>

#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {

void CpuBackend::rope_table(Execution& exec, std::span<const SequenceRows> sequences,
                            const Weight& inverse_frequencies, float scale, const Matrix& table) {
  const Cost cost{20.0 * static_cast<double>(table.rows * table.cols), inverse_frequencies.bytes(),
                  bytes_of(table)};
  exec.queue.submit(Op::rope, cost, [&] {
    const std::int64_t half = table.cols / 2;
    const float* frequencies = floats(inverse_frequencies);
    for (const SequenceRows& rows : sequences) {
      for (std::int64_t i = 0; i < rows.n_rows; ++i) {
        float* to = table.row(rows.first_row + i);
        const auto position = static_cast<float>(rows.first_position + i);
        for (std::int64_t j = 0; j < half; ++j) {
          to[j] = std::cos(position * frequencies[j]) * scale;
          to[half + j] = std::sin(position * frequencies[j]) * scale;
        }
      }
    }
  });
}

void CpuBackend::rope(Execution& exec, const Matrix& x, const Matrix& table) {
  const Cost cost{3.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + bytes_of(table), bytes_of(x)};
  exec.queue.submit(Op::rope, cost, [&] {
    for_rows(x.rows, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t row = first; row < first + count; ++row) {
        for (std::int64_t head = 0; head < x.cols; head += table.cols) {
          kernels_.rope_head(x.row(row) + head, table.row(row), table.cols);
        }
      }
    });
  });
}

}  // namespace galago::backend
