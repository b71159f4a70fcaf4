// FP16 and BF16 weights times x in BF16, summed in FP32. FP16 weights are rounded to BF16 when a panel is
// packed.
#include <string.h>

#include "kernels/cpu/simd.h"
#include "kernels/cpu/transpose_x86.h"
#include "kernels/cpu/weight_rows.h"

#if defined(GALAGO_AMX)
#include "kernels/cpu/bf16_amx.h"
#else
#include "kernels/cpu/bf16_avx512.h"
#endif

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t chunk = 16;  // weights of a row that are packed at once
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
  multiply_rows(from, x.stride, part.n_rows, packed, (part.depth + 1) / 2, sums);
}

}  // namespace

WeightRows bf16_rows(Element element) {
  return {element == Element::f16 ? multiply<F16Pairs> : multiply<Bf16Pairs>, plain_rows(element).dot};
}

}  // namespace galago::kernels::GALAGO_ISA
