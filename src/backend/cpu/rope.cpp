// Rotary positions.
#include <cmath>

#include "backend/cpu/cpu_backend_class.h"

namespace galago::backend {

void CpuBackend::rope_frequencies(Execution& exec, float base, std::int64_t dimensions,
                                  std::span<float> frequencies) {
  exec.queue.submit(Op::rope, costs::rope_frequencies(frequencies), [&] {
    for (std::size_t i = 0; i < frequencies.size(); ++i) {
      const float exponent = static_cast<float>(2 * i) / static_cast<float>(dimensions);
      frequencies[i] =
          1.0F / static_cast<float>(std::pow(static_cast<double>(base), static_cast<double>(exponent)));
    }
  });
}

void CpuBackend::rope_table(Execution& exec, const StepRows& step, const Weight& inverse_frequencies,
                            float scale, const Matrix& table) {
  exec.queue.submit(Op::rope, costs::rope_table(step.sequences, inverse_frequencies, table), [&] {
    const std::int64_t half = table.cols / 2;
    const float* frequencies = floats(inverse_frequencies);
    for (const SequenceRows& rows : step.sequences) {
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
  exec.queue.submit(Op::rope, costs::rope(x, table), [&] {
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
