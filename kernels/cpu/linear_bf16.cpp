// FP16 and BF16 weights times x in BF16: two products an instruction (VDPBF16PS), summed in FP32. FP16
// weights are rounded to BF16 when a panel is packed.
#include <string.h>

#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose_x86.h"
#include "kernels/cpu/weight_rows.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t chunk = 16;  // weights of a row that are packed at once
constexpr int tile_rows = 12;       // two sums each, of 32 registers
static_assert(depth_block % chunk == 0);

struct Bf16Pairs {
  GALAGO_INLINE __m256i load(const std::uint8_t* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
};

struct F16Pairs {
  GALAGO_INLINE __m256i load(const std::uint8_t* p) {
    const __m256bh rounded = _mm512_cvtneps_pbh(load_f16(reinterpret_cast<const std::uint16_t*>(p)).v);
    __m256i pairs;
    memcpy(&pairs, &rounded, sizeof pairs);
    return pairs;
  }
};

/// sums + the products of both halves of each pair
GALAGO_INLINE Vec add_products(Vec sums, __m512i w, __m512i x) {
  __m512bh left;
  __m512bh right;
  memcpy(&left, &w, sizeof left);
  memcpy(&right, &x, sizeof right);
  return {_mm512_dpbf16_ps(sums.v, left, right)};
}

/// to [depth / 2][panel] = pairs of the first n_rows rows of w, 8 at most, from `depth` columns on; what is
/// missing is 0.
template <class Pairs>
void pack_rows(const std::uint16_t* w, std::int64_t k, std::int64_t n_rows, std::int64_t depth,
               std::uint32_t* to) {
  auto* bytes = reinterpret_cast<std::uint8_t*>(to);
  const std::int64_t whole = depth / chunk * chunk;
  for (std::int64_t d = 0; d < whole; d += chunk) {
    transpose_quads<Pairs>(reinterpret_cast<const std::uint8_t*>(w + d), k * 2, n_rows,
                           bytes + d / 2 * panel * 4, panel * 4);
  }
  if (whole == depth) return;
  std::uint16_t rest[transposed_rows * chunk] = {};
  for (std::int64_t j = 0; j < n_rows; ++j) {
    memcpy(rest + j * chunk, w + j * k + whole, static_cast<std::size_t>(depth - whole) * 2);
  }
  transpose_quads<Pairs>(reinterpret_cast<const std::uint8_t*>(rest), chunk * 2, n_rows,
                         bytes + whole / 2 * panel * 4, panel * 4);
}

/// sums [rows][panel] += x [rows] times packed [n_pairs][panel]
template <int rows>
void multiply_pairs(const std::uint16_t* x, std::int64_t x_stride, const std::uint32_t* packed,
                    std::int64_t n_pairs, float* sums) {
  Vec left[rows];
  Vec right[rows];
  for (int i = 0; i < rows; ++i) {
    left[i] = load(sums + i * panel);
    right[i] = load(sums + i * panel + width);
  }
  for (std::int64_t pair = 0; pair < n_pairs; ++pair) {
    const __m512i w0 = _mm512_loadu_si512(packed + pair * panel);
    const __m512i w1 = _mm512_loadu_si512(packed + pair * panel + width);
    for (int i = 0; i < rows; ++i) {
      std::int32_t two;
      memcpy(&two, x + i * x_stride + 2 * pair, 4);
      const __m512i value = _mm512_set1_epi32(two);
      left[i] = add_products(left[i], w0, value);
      right[i] = add_products(right[i], w1, value);
    }
  }
  for (int i = 0; i < rows; ++i) {
    store(sums + i * panel, left[i]);
    store(sums + i * panel + width, right[i]);
  }
}

template <class Pairs>
void multiply(const Linear& op, const void* weights, const PanelPart& part, float* memory, float* sums) {
  auto* packed = reinterpret_cast<std::uint32_t*>(memory);
  const auto* w = static_cast<const std::uint16_t*>(weights) + part.column * op.k + part.first;
  for (std::int64_t j = 0; j < panel; j += transposed_rows) {
    const std::int64_t left = part.n_columns > j ? part.n_columns - j : 0;
    pack_rows<Pairs>(w + j * op.k, op.k, left < transposed_rows ? left : transposed_rows, part.depth,
                     packed + j);
  }
  const Bf16Rows& x = *op.bf16;
  const std::uint16_t* from = x.values + part.row * x.stride + part.first;
  const std::int64_t n_pairs = (part.depth + 1) / 2;
  std::int64_t i = 0;
  for (; i + tile_rows <= part.n_rows; i += tile_rows) {
    multiply_pairs<tile_rows>(from + i * x.stride, x.stride, packed, n_pairs, sums + i * panel);
  }
  for (; i + 4 <= part.n_rows; i += 4) {
    multiply_pairs<4>(from + i * x.stride, x.stride, packed, n_pairs, sums + i * panel);
  }
  for (; i < part.n_rows; ++i) {
    multiply_pairs<1>(from + i * x.stride, x.stride, packed, n_pairs, sums + i * panel);
  }
}

}  // namespace

WeightRows bf16_rows(Element element) {
  return {element == Element::f16 ? multiply<F16Pairs> : multiply<Bf16Pairs>, plain_rows(element).dot};
}

}  // namespace galago::kernels::GALAGO_ISA
