// Rotary positions.
#include <cmath>

#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {

void CpuBackend::rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                                  std::span<float> frequencies) {
  const Cost cost{20.0 * static_cast<double>(frequencies.size()), 0, frequencies.size_bytes()};
  exec.queue.submit(Op::rope, cost, [&] {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(dimensions);
      frequencies[i] =
          1.0F / static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
  });
}

void CpuBackend::rope_table(Execution& exec, std::span<const SequenceRows> sequences,
                            const Weight& inverse_frequencies, float scale, const Matrix& table) {
  std::int64_t n_rows = 0;
  for (const SequenceRows& rows : sequences) n_rows += rows.n_rows;
  const Cost cost{20.0 * static_cast<double>(n_rows * table.cols), inverse_frequencies.bytes(),
                  static_cast<Bytes>(n_rows * table.cols) * sizeof(float)};
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

void CpuBackend::rope(Execution& exec, const Matrix& x, std::int64_t head_size, const Matrix& table) {
  const Cost cost{3.0 * static_cast<double>(x.rows * x.cols), bytes_of(x) + bytes_of(table), bytes_of(x)};
  exec.queue.submit(Op::rope, cost, [&] {
    for_rows(x.rows, [&](std::int64_t first, std::int64_t count) {
      for (std::int64_t row = first; row < first + count; ++row) {
        for (std::int64_t head = 0; head < x.cols; head += head_size) {
          kernels_.rope_head(x.row(row) + head, table.row(row), table.cols);
        }
      }
    });
  });
}

}  // namespace galago::backend
