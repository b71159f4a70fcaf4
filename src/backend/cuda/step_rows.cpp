#include "backend/cuda/step_rows.h"

#include <algorithm>

#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

using memory::RegionId;

std::int64_t most_row_numbers(const StepRows& rows, const LayerPages& pages) {
  return 4 * static_cast<std::int64_t>(rows.ids.size()) +
         static_cast<std::int64_t>(rows.sequences.size()) * pages.sequence_pages;
}

std::int64_t table_pages(const SequenceRows& rows, const LayerPages& pages) {
  return ceil_div(rows.first_place() + rows.n_rows, pages.page_tokens);
}

std::span<const std::int32_t> pack_rows(const StepRows& rows, const LayerPages& pages,
                                        std::span<std::int32_t> to) {
  const std::size_t n = rows.ids.size();
  std::copy(rows.ids.begin(), rows.ids.end(), to.begin());
  std::size_t end = 4 * n;
  for (const SequenceRows& sequence : rows.sequences) {
    for (std::int64_t i = 0; i < sequence.n_rows; ++i) {
      const auto row = static_cast<std::size_t>(sequence.first_row + i);
      to[n + row] = static_cast<std::int32_t>(sequence.first_position + i);
      to[2 * n + row] = static_cast<std::int32_t>(sequence.first_place() + i);
      to[3 * n + row] = static_cast<std::int32_t>(end - 4 * n);
    }
    const auto table = sequence.pages.first(static_cast<std::size_t>(table_pages(sequence, pages)));
    std::copy(table.begin(), table.end(), to.begin() + static_cast<std::ptrdiff_t>(end));
    end += table.size();
  }
  return to.first(end);
}

DeviceRows device_rows(const StepRows& rows, std::int64_t row) {
  const auto n = static_cast<std::int64_t>(rows.ids.size());
  const std::int32_t* const at = rows.on_device;
  return {at + row, at + n + row, {at + 2 * n + row, at + 3 * n + row}, at + 4 * n};
}

StepRows CudaBackend::bring_rows(Execution& exec, const StepRows& rows, const LayerPages& pages) {
  const std::int64_t n_most = most_row_numbers(rows, pages);
  auto* const on_device = exec.arena.array<std::int32_t>(RegionId::activations, n_most);
  const memory::Scope scope(exec.arena.region(RegionId::staging));
  auto* const packed = exec.arena.array<std::int32_t>(RegionId::staging, n_most);
  if (packed != nullptr) {
    const auto numbers = pack_rows(rows, pages, {packed, static_cast<std::size_t>(n_most)});
    device_.upload(reinterpret_cast<std::byte*>(on_device), std::as_bytes(numbers));
  }
  return {rows.ids, rows.sequences, on_device};
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
