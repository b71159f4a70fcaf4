// mma.sync.m16n8k16, ldmatrix and cp.async on the emulated device: collectives of the warp with the lanes'
// fragments as the hardware lays them out, and copies that are late until somebody waits for them.
#pragma once

#include "simt/device.h"

namespace galago::simt {

/// c [16, 8] += a [16, 16] b [16, 8]; operands as PTX has them for 16-bit types.
void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  float (*widen)(std::uint16_t));

/// What one lane brings to ldmatrix, and gets.
struct MatrixRows {
  std::uint16_t row[8];  // row lane % 8 of matrix lane / 8
  std::uint32_t words[4];
  bool transposed;
};
void exchange_matrices(MatrixRows& lane);

template <class T>
void load_matrix_words(std::uint32_t (&words)[4], const Shared<T>& row, bool transposed) {
  MatrixRows lane{{}, {}, transposed};
  struct alignas(16) Row {
    std::uint16_t elements[8];
  };
  const Row own = load_vector<Row>(row, 0);
  std::memcpy(lane.row, own.elements, sizeof(lane.row));
  exchange_matrices(lane);
  std::memcpy(words, lane.words, sizeof(words));
}
template <class T>
void load_matrices(std::uint32_t (&words)[4], const Shared<T>& row) {
  load_matrix_words(words, row, false);
}
template <class T>
void load_transposed(std::uint32_t (&words)[4], const Shared<T>& row) {
  load_matrix_words(words, row, true);
}

inline constexpr std::size_t async_bytes = 16;

/// The shared bytes count as unwritten until their group was waited for.
void begin_copy(std::size_t to, const void* from, std::size_t n_bytes);
void commit_copies();
void finish_copies(std::size_t groups_left);

template <class T, class U>
void copy_async(const Shared<T>& to, const Global<U>& from, int n_bytes) {
  if (n_bytes > 0) from.check_range(from.data(), async_bytes, static_cast<std::size_t>(n_bytes));
  begin_copy(to.place(0, async_bytes), from.data(), static_cast<std::size_t>(n_bytes));
}
template <int n_left>
void wait_for_copies() {
  finish_copies(n_left);
}

}  // namespace galago::simt
