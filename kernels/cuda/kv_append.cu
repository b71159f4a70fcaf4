// Rows of keys and values go into pages, as they are, narrowed, or as quants.
#include "kernels/cuda/grid.cuh"
#include "kernels/cuda/kernels.h"

namespace galago::kernels::GALAGO_DEVICE_SPACE {
namespace {

struct Append {
  Rows k, v;
  RowPlaces places;
  std::int64_t head_size;
  PagedKeys to;
};

/// Where a row's token goes.
struct Slot {
  std::int64_t page, within;
};
__device__ __forceinline__ Slot slot_of(const Append& op, std::int64_t row) {
  const std::int64_t position = Global<const std::int32_t>(op.places.positions)[row];
  const std::int64_t table = Global<const std::int32_t>(op.places.tables)[row];
  const Global<const std::int32_t> pages(op.to.pages);
  return {pages[table + position / op.to.page_tokens], position % op.to.page_tokens};
}

template <class T>
__global__ void append_kv_kernel(const Append op) {
  const std::int64_t i = element_column();
  if (i >= op.k.cols) return;
  const Global<const float> k(op.k.data);
  const Global<const float> v(op.v.data);
  const Global<T> base(static_cast<T*>(op.to.base));
  const std::int64_t half = op.k.cols * op.to.page_tokens;
  for (std::int64_t row = blockIdx.y; row < op.k.rows; row += gridDim.y) {
    const Slot slot = slot_of(op, row);
    const std::int64_t at = slot.page * (op.to.page_stride / static_cast<std::int64_t>(sizeof(T))) +
                            (i / op.head_size * op.to.page_tokens + slot.within) * op.head_size +
                            i % op.head_size;
    base[at] = narrow_to<T>(k[row * op.k.stride + i]);
    base[at + half] = narrow_to<T>(v[row * op.v.stride + i]);
  }
}

constexpr int append_threads = 128;
constexpr int append_warps = append_threads / warp_lanes;
constexpr int lanes_of_nibbles = 16;

/// A group's scale and minimum as FP16 gives them back; the scale is not finite where a value is not.
struct GroupNumbers {
  Half scale, minimum;
};

template <int bits>
__device__ __forceinline__ GroupNumbers choose_numbers(float value, bool minima) {
  const float highest = warp_max(value);
  const float lowest = -warp_max(-value);
  if (!minima) {
    // The value farthest from 0 lands on the lowest quant, which has no counterpart above 0.
    const float extreme = -lowest > highest ? lowest : highest;
    return {narrow_half(extreme / static_cast<float>(-(1 << (bits - 1)))), Half{0}};
  }
  // Of 8 bits quants begin at -128, of 4 bits at 0.
  const Half scale = narrow_half((highest - lowest) / static_cast<float>((1 << bits) - 1));
  return {scale, narrow_half(lowest + (bits == 8 ? widen(scale) * 128.0F : 0.0F))};
}

template <int bits>
__device__ __forceinline__ int quant_of(float value, const GroupNumbers& group, bool minima) {
  const bool from_zero = bits == 4 && minima;
  const float lowest = from_zero ? 0.0F : -static_cast<float>(1 << (bits - 1));
  const float highest = from_zero ? 15.0F : static_cast<float>((1 << (bits - 1)) - 1);
  const float scale = widen(group.scale);
  const float inverse = scale == 0 ? 0.0F : 1.0F / scale;
  const float quant = rintf((value - widen(group.minimum)) * inverse);
  // Bounded before it is converted; NaN becomes the lowest.
  return static_cast<int>(quant >= lowest ? fminf(quant, highest) : lowest);
}

/// A head's part of a position, all its groups not finite where one is not: a broken model must not look like
/// a working one.
template <int bits>
__device__ __forceinline__ void store_record(const GroupedRows& format, const Global<const float>& from,
                                             int head_size, const Global<std::uint8_t>& to) {
  const int lane = static_cast<int>(lane_index());
  const bool minima = format.offset == GroupOffset::minimum;
  const int n_groups = (head_size + warp_lanes - 1) / warp_lanes;
  float broken = 0;
  for (int turn = 0; turn < 2; ++turn) {
    for (int group = 0; group < n_groups; ++group) {
      const int d = group * warp_lanes + lane;
      const float value =
          from[d < head_size ? d : group * warp_lanes];  // beyond the end: one that counts anyway
      const GroupNumbers numbers = choose_numbers<bits>(value, minima);
      if (turn == 0) {
        const float sum = value + widen(numbers.scale) + widen(numbers.minimum);
        if (!(fabsf(sum) <= 3.0e38F)) broken = 1;
        continue;
      }
      int quant = d < head_size && broken == 0 ? quant_of<bits>(value, numbers, minima) : 0;
      if (bits == 8) {
        to[d] = static_cast<std::uint8_t>(quant);
      } else {
        if (!minima && d < head_size) quant += 8;
        const int upper = shuffle(quant, static_cast<unsigned>(lane + lanes_of_nibbles) % warp_lanes);
        if (lane < lanes_of_nibbles) {
          to[group * lanes_of_nibbles + lane] = static_cast<std::uint8_t>(quant | upper << 4);
        }
      }
      if (lane == 0) {
        const Half no_number{0x7e00};
        memory_as<Half>(to + format.scales_at)[group] = broken == 0 ? numbers.scale : no_number;
        if (minima) memory_as<Half>(to + format.offsets_at)[group] = numbers.minimum;
      }
    }
    broken = warp_max(broken);
  }
}

/// A warp a head's key or value of a position.
template <int bits>
__global__ void __launch_bounds__(append_threads) append_quants_kernel(const Append op) {
  const GroupedRows& format = op.to.grouped;
  const std::int64_t n_heads = op.k.cols / op.head_size;
  const std::int64_t part = static_cast<std::int64_t>(blockIdx.x) * append_warps + warp_index();
  if (part >= 2 * n_heads) return;
  const bool is_value = part >= n_heads;
  const std::int64_t head = is_value ? part - n_heads : part;
  for (std::int64_t row = blockIdx.y; row < op.k.rows; row += gridDim.y) {
    const Slot slot = slot_of(op, row);
    const std::int64_t at = slot.page * op.to.page_stride + ((is_value ? n_heads * op.to.page_tokens : 0) +
                                                             head * op.to.page_tokens + slot.within) *
                                                                format.row_bytes;
    const Global<const float> from(is_value ? op.v.data + row * op.v.stride : op.k.data + row * op.k.stride);
    store_record<bits>(format, from + head * op.head_size, static_cast<int>(op.head_size),
                       Global<std::uint8_t>(static_cast<std::uint8_t*>(op.to.base)) + at);
  }
}

}  // namespace

cudaError_t append_kv(cudaStream_t stream, const Rows& k, const Rows& v, const RowPlaces& places,
                      std::int64_t head_size, const PagedKeys& to) {
  if (k.rows == 0) return cudaSuccess;
  const Append op{k, v, places, head_size, to};
  Grid grid = element_grid(k.rows, k.cols);
  if (to.grouped.bits != 0) {
    grid.x = static_cast<unsigned>((2 * k.cols / head_size + append_warps - 1) / append_warps);
    return to.grouped.bits == 8
               ? launch<append_quants_kernel<8>>(stream, "append_kv", grid, append_threads, 0, op)
               : launch<append_quants_kernel<4>>(stream, "append_kv", grid, append_threads, 0, op);
  }
  return to.element == Element::f32
             ? launch<append_kv_kernel<float>>(stream, "append_kv", grid, element_threads, 0, op)
             : launch<append_kv_kernel<Half>>(stream, "append_kv", grid, element_threads, 0, op);
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
