#include "simt/tensor_core.h"

#include <deque>
#include <vector>

#include "simt/execution.h"

namespace galago::simt {
namespace {

// Sites of collectives, apart from those in device.h.
constexpr unsigned multiply_site = 8U << 20;
constexpr unsigned matrices_site = 9U << 20;

struct Product {
  float (&c)[4];
  const std::uint32_t (&a)[4];
  const std::uint32_t (&b)[2];
  float (*widen)(std::uint16_t);

  float half(std::uint32_t word, unsigned which) const {
    return widen(static_cast<std::uint16_t>(word >> 16 * which));
  }
};

/// Once for all lanes: the operands are put together from the fragments, and the sums handed out again.
void multiply_for_all(void* const* lanes) {
  float a[16][16];
  float b[16][8];
  for (unsigned lane = 0; lane < warp_size; ++lane) {
    const auto& product = *static_cast<const Product*>(lanes[lane]);
    const unsigned group = lane / 4;
    for (unsigned half = 0; half < 2; ++half) {
      const unsigned k = lane % 4 * 2 + half;
      a[group][k] = product.half(product.a[0], half);
      a[group + 8][k] = product.half(product.a[1], half);
      a[group][k + 8] = product.half(product.a[2], half);
      a[group + 8][k + 8] = product.half(product.a[3], half);
      b[k][group] = product.half(product.b[0], half);
      b[k + 8][group] = product.half(product.b[1], half);
    }
  }
  float c[16][8] = {};
  for (unsigned row = 0; row < 16; ++row) {
    for (unsigned k = 0; k < 16; ++k) {
      for (unsigned column = 0; column < 8; ++column) c[row][column] += a[row][k] * b[k][column];
    }
  }
  for (unsigned lane = 0; lane < warp_size; ++lane) {
    auto& product = *static_cast<Product*>(lanes[lane]);
    for (unsigned i = 0; i < 4; ++i) product.c[i] += c[lane / 4 + i / 2 * 8][lane % 4 * 2 + i % 2];
  }
}

void hand_out_matrices(void* const* lanes) {
  const auto row_of = [&](unsigned matrix, unsigned row) {
    return static_cast<const MatrixRows*>(lanes[matrix * 8 + row])->row;
  };
  for (unsigned lane = 0; lane < warp_size; ++lane) {
    auto& to = *static_cast<MatrixRows*>(lanes[lane]);
    const unsigned row = lane / 4;
    const unsigned column = lane % 4 * 2;
    for (unsigned matrix = 0; matrix < 4; ++matrix) {
      const std::uint32_t low = to.transposed ? row_of(matrix, column)[row] : row_of(matrix, row)[column];
      const std::uint32_t high =
          to.transposed ? row_of(matrix, column + 1)[row] : row_of(matrix, row)[column + 1];
      to.words[matrix] = low | high << 16;
    }
  }
}

struct Copy {
  std::size_t to;
  struct alignas(async_bytes) Bytes {
    std::byte values[async_bytes];
  } bytes;
};

/// What one thread has begun.
struct ThreadCopies {
  std::uint64_t block = 0;  // of which they are; those of an earlier block are forgotten
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

ThreadCopies& copies_of_thread() {
  static std::vector<ThreadCopies> threads(max_block_threads);
  ThreadCopies& copies = threads[running_thread()];
  if (copies.block != n_blocks_begun()) copies = {n_blocks_begun(), {}, {}};
  return copies;
}

}  // namespace

void multiply_add(float (&c)[4], const std::uint32_t (&a)[4], const std::uint32_t (&b)[2],
                  float (*widen)(std::uint16_t)) {
  Product product{c, a, b, widen};
  work_in_warp(&product, multiply_for_all, multiply_site);
}

void exchange_matrices(MatrixRows& lane) {
  work_in_warp(&lane, hand_out_matrices, matrices_site);
}

void begin_copy(std::size_t to, const void* from, std::size_t n_bytes) {
  Copy copy{to, {}};
  if (n_bytes > 0) std::memcpy(copy.bytes.values, from, n_bytes);
  shared_memory().expect(to, async_bytes);
  copies_of_thread().open.push_back(copy);
}

void commit_copies() {
  ThreadCopies& copies = copies_of_thread();
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}

void finish_copies(std::size_t groups_left) {
  ThreadCopies& copies = copies_of_thread();
  while (copies.groups.size() > groups_left) {
    for (const Copy& copy : copies.groups.front()) shared_memory().write(copy.to, copy.bytes);
    copies.groups.pop_front();
  }
}

}  // namespace galago::simt
