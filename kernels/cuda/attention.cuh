// Where the keys and values of a position lie, and which positions a query sees.
#pragma once

#include "kernels/cuda/kernels.h"
#include "kernels/cuda/quants.cuh"

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// Keys and values as rows beside each other.
struct DenseKeys {
  Global<const float> k, v;
  std::int64_t stride, head_size;

  __device__ __forceinline__ DenseKeys(const Attend& op, std::int64_t first_row, std::int64_t kv_head)
      : k(op.k + first_row * op.kv_stride + kv_head * op.head_size),
        v(op.v + first_row * op.kv_stride + kv_head * op.head_size),
        stride(op.kv_stride),
        head_size(op.head_size) {}

  __device__ __forceinline__ std::int64_t place(std::int64_t position) const { return position * stride; }
  __device__ __forceinline__ float key(std::int64_t place, std::int64_t d) const { return k[place + d]; }
  __device__ __forceinline__ float value(std::int64_t place, std::int64_t d) const { return v[place + d]; }
};

/// Which page a position is in.
struct PageTable {
  Global<const std::int32_t> pages;
  int tokens, shift;  // positions of a page; as a power of two, or -1

  __device__ __forceinline__ explicit PageTable(const PagedKeys& paged)
      : pages(paged.pages), tokens(static_cast<int>(paged.page_tokens)), shift(-1) {
    if ((tokens & (tokens - 1)) == 0) shift = floor_log2(static_cast<unsigned>(tokens));
  }
  __device__ __forceinline__ std::int64_t page(int position) const {
    return pages[shift >= 0 ? position >> shift : position / tokens];
  }
  __device__ __forceinline__ int within(int position) const {
    return shift >= 0 ? position & (tokens - 1) : position % tokens;
  }
};

/// Pages of grouped rows: groups of 32, FP16 scales, minima or none.
struct GroupedPages {
  Global<const std::uint8_t> base;
  PageTable table;
  std::int64_t page_stride;
  int values_at, row_bytes;
  GroupPlaces groups;

  __device__ __forceinline__ GroupedPages(const Attend& op, std::int64_t kv_head)
      : base(Global<const std::uint8_t>(static_cast<const std::uint8_t*>(op.paged.base)) +
             kv_head * op.paged.page_tokens * op.paged.grouped.row_bytes),
        table(op.paged),
        page_stride(op.paged.page_stride),
        values_at(static_cast<int>(op.n_kv_heads * op.paged.page_tokens * op.paged.grouped.row_bytes)),
        row_bytes(static_cast<int>(op.paged.grouped.row_bytes)),
        groups{op.paged.grouped.scales_at, op.paged.grouped.offsets_at,
               static_cast<int>((op.head_size + 31) / 32),
               // takes_pages(): no zero points, which the compiler is to know.
               op.paged.grouped.offset == GroupOffset::minimum ? GroupOffset::minimum : GroupOffset::none} {}

  template <bool values>
  __device__ __forceinline__ Global<const std::uint8_t> row(int position) const {
    return base + (table.page(position) * page_stride +
                   (table.within(position) * row_bytes + (values ? values_at : 0)));
  }
};

/// Keys and values in pages, in T.
template <class T>
struct PageKeys {
  Global<const T> base;
  Global<const std::int32_t> pages;
  std::int64_t page_stride, page_tokens, head_size, values_at;

  __device__ __forceinline__ PageKeys(const Attend& op, std::int64_t /*first_row*/, std::int64_t kv_head)
      : base(Global<const T>(static_cast<const T*>(op.paged.base)) +
             kv_head * op.paged.page_tokens * op.head_size),
        pages(op.paged.pages),
        page_stride(op.paged.page_stride / static_cast<std::int64_t>(sizeof(T))),
        page_tokens(op.paged.page_tokens),
        head_size(op.head_size),
        values_at(op.n_kv_heads * op.paged.page_tokens * op.head_size) {}

  __device__ __forceinline__ std::int64_t place(std::int64_t position) const {
    return pages[position / page_tokens] * page_stride + position % page_tokens * head_size;
  }
  __device__ __forceinline__ float key(std::int64_t place, std::int64_t d) const {
    return widen(base[place + d]);
  }
  __device__ __forceinline__ float value(std::int64_t place, std::int64_t d) const {
    return widen(base[place + values_at + d]);
  }
};

/// Grouped rows in pages, element by element.
struct QuantKeys {
  GroupedPages pages;
  std::int64_t head_size;
  int bits;

  __device__ __forceinline__ QuantKeys(const Attend& op, std::int64_t /*first_row*/, std::int64_t kv_head)
      : pages(op, kv_head), head_size(op.head_size), bits(op.paged.grouped.bits) {}

  __device__ __forceinline__ std::int64_t place(std::int64_t position) const { return position; }
  __device__ __forceinline__ float key(std::int64_t place, std::int64_t d) const {
    return element(pages.row<false>(static_cast<int>(place)), static_cast<int>(d));
  }
  __device__ __forceinline__ float value(std::int64_t place, std::int64_t d) const {
    return element(pages.row<true>(static_cast<int>(place)), static_cast<int>(d));
  }

 private:
  __device__ __forceinline__ float element(const Global<const std::uint8_t>& row, int d) const {
    const GroupWord group = group_word(pages.groups, row, d / 32);
    int quant = 0;
    if (bits == 8) {
      quant = static_cast<std::int8_t>(row[d]);
    } else {
      quant = (row[d / 32 * 16 + d % 16] >> (d % 32 < 16 ? 0 : 4) & 15) -
              zero_byte<4>(pages.groups.offset, group);
    }
    return static_cast<float>(quant) * group.scale() + group.minimum();
  }
};

/// Positions [start, limit) that a row's queries see, beside the sinks.
struct Sight {
  std::int64_t start, limit;
};
/// Causal, from a position.
__device__ __forceinline__ Sight sight_at(const Attend& op, std::int64_t position) {
  const std::int64_t limit = position + 1;
  return {op.window > 0 && limit > op.window ? limit - op.window : 0, limit};
}
__device__ __forceinline__ Sight sight_of(const Attend& op, std::int64_t row) {
  if (op.tile_rows > 0) return {0, op.tile_rows};
  return sight_at(op, op.first_position + row);
}

__device__ __forceinline__ bool sees(const Attend& op, const Sight& sight, std::int64_t position) {
  return position < sight.limit && (position >= sight.start || position < op.sinks);
}

/// The tile that begins at `first`, or, where that lies between the sinks and `start`, the one with `start`.
template <int tile_keys>
__device__ __forceinline__ std::int64_t next_tile(const Attend& op, std::int64_t start, std::int64_t first) {
  return first < op.sinks || first >= start ? first : start / tile_keys * tile_keys;
}

/// Runs of 32 elements that a head has, as the kernels are compiled for; a lane holds one element of each.
inline constexpr int most_runs = 8;
constexpr int runs_of(std::int64_t head_size) {
  const auto runs = static_cast<int>((head_size + warp_lanes - 1) / warp_lanes);
  return runs <= 4 ? runs : most_runs;
}

/// No score yet. Finite, so that differences of two are 0 and not NaN.
inline constexpr float no_score = -3.0e38F;

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
