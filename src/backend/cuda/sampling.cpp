// Tokens are chosen where the logits are: a number a row comes to the host.
#include <algorithm>
#include <array>

#include "backend/cuda/cuda_backend_class.h"

namespace galago::backend::GALAGO_DEVICE_SPACE {

using kernels_of_device::choices_at_once;
using memory::RegionId;

void CudaBackend::choose(Execution& exec, const Matrix& logits, std::span<const TokenChoice> choices,
                         std::span<std::int32_t> tokens) {
  const memory::Scope scope(exec.arena.region(RegionId::activations));
  const std::int64_t n_words = kernels::said_words(logits.cols);
  const kernels_of_device::ChoiceScratch scratch{
      exec.arena.array<std::uint64_t>(RegionId::activations, logits.rows * logits.cols),
      exec.arena.array<std::uint32_t>(RegionId::activations, logits.rows * n_words),
      exec.arena.array<std::int32_t>(RegionId::activations, logits.rows)};
  exec.queue.submit(Op::choose, costs::choose(logits), [&] {
    for (std::size_t row = 0; row < choices.size(); ++row) {
      if (choices[row].said.empty()) continue;
      device_.upload(reinterpret_cast<std::byte*>(scratch.said + static_cast<std::int64_t>(row) * n_words),
                     std::as_bytes(choices[row].said));
    }
    for (std::int64_t first = 0; first < logits.rows; first += choices_at_once) {
      const std::int64_t n = std::min(choices_at_once, logits.rows - first);
      std::array<kernels::Choice, choices_at_once> how;
      const auto from = choices.begin() + static_cast<std::ptrdiff_t>(first);
      std::transform(from, from + static_cast<std::ptrdiff_t>(n), how.begin(), kernel_choice);
      device_.check(
          kernels_of_device::choose(device_.stream(), rows_of(logits.slice_rows(first, n)), how.data(),
                                    {scratch.weights + first * logits.cols, scratch.said + first * n_words,
                                     scratch.tokens + first}),
          "choose");
    }
    device_.download(std::as_writable_bytes(tokens), reinterpret_cast<const std::byte*>(scratch.tokens));
  });
}

}  // namespace galago::backend::GALAGO_DEVICE_SPACE
