// Keys and values on their way into tiles of FP16, eight neighbours of a head at a time: from FP32 rows, from
// pages, or element by element where those lie as they like.
#pragma once

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/quants.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// Halves that are loaded at once: 16 bytes of a tile's row.
inline constexpr int piece_halves = 8;

inline bool is_aligned(const void* address) {
  return reinterpret_cast<std::uintptr_t>(address) % 16 == 0;
}

/// Rows of FP32 whose heads begin at multiples of 16 bytes.
struct FloatRows {
  static constexpr int pieces_at_once = 8;
  DenseKeys keys;
  int head_size;

  static bool fits(const Attend& op) {
    return op.head_size % piece_halves == 0 && op.kv_stride % 4 == 0 && is_aligned(op.k) && is_aligned(op.v);
  }
  __device__ __forceinline__ FloatRows(const Attend& op, std::int64_t first_row, std::int64_t kv_head)
      : keys(op, first_row, kv_head), head_size(static_cast<int>(op.head_size)) {}

  template <bool values>
  __device__ __forceinline__ void copy(int position, bool present, int d, const Shared<Half>& to) const {
    Words4 piece{};
    if (present && d < head_size) {
      const std::int64_t at = keys.place(position) + d;
      const Float4 low = load_vector<Float4>(values ? keys.v : keys.k, at);
      const Float4 high = load_vector<Float4>(values ? keys.v : keys.k, at + 4);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        piece.words[i] = pack_saturated(low.values[2 * i], low.values[2 * i + 1]);
        piece.words[2 + i] = pack_saturated(high.values[2 * i], high.values[2 * i + 1]);
      }
    }
    store_vector(to, 0, piece);
  }
};

/// Pages of FP16 whose rows begin at multiples of 16 bytes.
struct HalfPages {
  static constexpr int pieces_at_once = 8;
  Global<const Half> base;
  PageTable table;
  std::int64_t page_stride, values_at;
  int head_size;

  static bool fits(const Attend& op) {
    return op.head_size % piece_halves == 0 && op.paged.page_stride % 16 == 0 && is_aligned(op.paged.base);
  }
  __device__ __forceinline__ HalfPages(const Attend& op, std::int64_t /*first_row*/, std::int64_t kv_head)
      : base(Global<const Half>(static_cast<const Half*>(op.paged.base)) +
             kv_head * op.paged.page_tokens * op.head_size),
        table(op.paged),
        page_stride(op.paged.page_stride / static_cast<std::int64_t>(sizeof(Half))),
        values_at(op.n_kv_heads * op.paged.page_tokens * op.head_size),
        head_size(static_cast<int>(op.head_size)) {}

  template <bool values>
  __device__ __forceinline__ void copy(int position, bool present, int d, const Shared<Half>& to) const {
    const bool wanted = present && d < head_size;
    // Where nothing is wanted any address will do.
    const std::int64_t place =
        wanted ? table.page(position) * page_stride + table.within(position) * head_size + d : 0;
    copy_async(to, base + (values ? place + values_at : place), wanted ? 16 : 0);
  }
};

/// Pages of quants; eight neighbours lie in eight bytes, of 4 bits in either half of them.
template <int bits>
struct QuantPages {
  static constexpr int pieces_at_once = 4;
  GroupedPages pages;
  int head_size;

  __device__ __forceinline__ QuantPages(const Attend& op, std::int64_t /*first_row*/, std::int64_t kv_head)
      : pages(op, kv_head), head_size(static_cast<int>(op.head_size)) {}

  template <bool values>
  __device__ __forceinline__ void copy(int position, bool present, int d, const Shared<Half>& to) const {
    Words4 piece{};
    if (present && d < head_size) {
      const Global<const std::uint8_t> row = pages.row<values>(position);
      const auto words = load_vector<Words2>(row, bits == 8 ? d : d / 32 * 16 + d % 16);
      const PairScale by = pair_scale<bits>(pages.groups.offset, group_word(pages.groups, row, d / 32));
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const Words2 four = scale_bytes(unsigned_bytes<bits>(words.words[i], d % 32 >= 16), by);
        piece.words[2 * i] = four.words[0];
        piece.words[2 * i + 1] = four.words[1];
      }
    }
    store_vector(to, 0, piece);
  }
};

/// Any keys and values, element by element.
template <class Keys>
struct AnyKeys {
  static constexpr int pieces_at_once = 1;  // for want of registers
  Keys keys;

  __device__ __forceinline__ AnyKeys(const Attend& op, std::int64_t first_row, std::int64_t kv_head)
      : keys(op, first_row, kv_head) {}

  template <bool values>
  __device__ __forceinline__ void copy(int position, bool present, int d, const Shared<Half>& to) const {
    const std::int64_t place = present ? keys.place(position) : 0;
    Words4 piece;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float pair[2];
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        const int at = d + 2 * i + j;
        const bool wanted = present && at < keys.head_size;
        pair[j] = !wanted ? 0.0F : (values ? keys.value(place, at) : keys.key(place, at));
      }
      piece.words[i] = pack_saturated(pair[0], pair[1]);
    }
    store_vector(to, 0, piece);
  }
};

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
