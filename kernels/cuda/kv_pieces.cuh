// Keys and values in pages, eight elements of a position at a time, as decoding reads them: two runs of four,
// so that a lane's load is one vector in every format.
#pragma once

#include "kernels/cuda/attention.cuh"
#include "kernels/cuda/quants.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

inline constexpr int piece_elements = 8;

/// Where the elements of a piece are: 0 to 3 from `first` on, 4 to 7 from `second` on. Beyond the head's size
/// they count for nothing.
struct Runs {
  int first, second;

  __device__ __forceinline__ int element(int i) const { return i < 4 ? first + i : second + i - 4; }
};

/// FP32 or FP16.
template <class T>
struct PlainPieces {
  static constexpr int batch = sizeof(T) == 2 ? 4 : 2;
  struct alignas(16) Raw {
    T values[piece_elements];
  };
  Global<const T> base;
  PageTable table;
  std::int64_t page_stride, values_at;
  int head_size;
  bool aligned;

  __device__ __forceinline__ PlainPieces(const Attend& op, std::int64_t kv_head)
      : base(Global<const T>(static_cast<const T*>(op.paged.base)) +
             kv_head * op.paged.page_tokens * op.head_size),
        table(op.paged),
        page_stride(op.paged.page_stride / static_cast<std::int64_t>(sizeof(T))),
        values_at(op.n_kv_heads * op.paged.page_tokens * op.head_size),
        head_size(static_cast<int>(op.head_size)),
        aligned(op.head_size % piece_elements == 0 && op.paged.page_stride % 16 == 0 &&
                reinterpret_cast<std::uintptr_t>(op.paged.base) % 16 == 0) {}

  static __host__ __device__ constexpr int pieces_of(int head_size) {
    return (head_size + piece_elements - 1) / piece_elements;
  }
  static __device__ __forceinline__ Runs runs(int piece) {
    return {piece * piece_elements, piece * piece_elements + 4};
  }
  template <bool values>
  __device__ __forceinline__ Raw load(int position, int piece) const {
    const std::int64_t at = table.page(position) * page_stride + table.within(position) * head_size +
                            piece * piece_elements + (values ? values_at : 0);
    Raw raw{};
    if (aligned) {
      if constexpr (sizeof(T) == 2) {
        raw = load_vector<Raw>(base, at);
      } else {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const auto four = load_vector<Float4>(base, at + half * 4);
#pragma unroll
          for (int i = 0; i < 4; ++i) raw.values[half * 4 + i] = four.values[i];
        }
      }
    } else {
#pragma unroll
      for (int i = 0; i < piece_elements; ++i) {
        if (piece * piece_elements + i < head_size) raw.values[i] = base[at + i];
      }
    }
    return raw;
  }
  __device__ __forceinline__ void widen_to(const Raw& raw, float (&to)[piece_elements]) const {
#pragma unroll
    for (int i = 0; i < piece_elements; ++i) to[i] = widen(raw.values[i]);
  }
};

/// Grouped rows, groups of 32 with FP16 scales and minima or none.
template <int bits>
struct GroupedPieces {
  static constexpr int batch = 4;
  struct Raw {
    std::uint32_t quants[bits / 4];
    GroupWord group;
  };
  GroupedPages pages;

  __device__ __forceinline__ GroupedPieces(const Attend& op, std::int64_t kv_head) : pages(op, kv_head) {}

  static __host__ __device__ constexpr int pieces_of(int head_size) { return (head_size + 31) / 32 * 4; }
  static __device__ __forceinline__ Runs runs(int piece) {
    if (bits == 8) return {piece * piece_elements, piece * piece_elements + 4};
    return {piece / 4 * 32 + piece % 4 * 4, piece / 4 * 32 + piece % 4 * 4 + 16};
  }
  template <bool values>
  __device__ __forceinline__ Raw load(int position, int piece) const {
    const Global<const std::uint8_t> row = pages.row<values>(position);
    Raw raw{};
    if constexpr (bits == 8) {
      const auto words = load_vector<Words2>(row, piece * 8);
      raw.quants[0] = words.words[0];
      raw.quants[1] = words.words[1];
    } else {
      raw.quants[0] = load_vector<std::uint32_t>(row, piece * 4);
    }
    raw.group = group_word(pages.groups, row, piece / 4);
    return raw;
  }
  __device__ __forceinline__ void widen_to(const Raw& raw, float (&to)[piece_elements]) const {
    const float scale = raw.group.scale();
    const float minimum = raw.group.minimum();
    const Words2 bytes = unsigned_bytes<bits>(raw.quants);
    const auto zero = static_cast<float>(zero_byte<bits>(pages.groups.offset, raw.group));
    float quants[piece_elements];
    bytes_to_floats(bytes.words[0], zero, quants);
    bytes_to_floats(bytes.words[1], zero, quants + 4);
#pragma unroll
    for (int i = 0; i < piece_elements; ++i) to[i] = quants[i] * scale + minimum;
  }
};

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
