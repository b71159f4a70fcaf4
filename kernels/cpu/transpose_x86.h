// Rows of bytes to columns of quads: what instructions want that add products of neighbours.
#pragma once

#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {

inline constexpr std::int64_t transposed_rows = 8;
/// to: quad q of row j at q * to_stride + 4 * j, for up to 8 rows of 32 bytes as Quants::load gives them;
/// missing rows are 0.
template <class Quants>
void transpose_quads(const std::uint8_t* rows, std::int64_t row_bytes, std::int64_t n_rows, std::uint8_t* to,
                     std::int64_t to_stride) {
  __m256i r[8];
  for (int i = 0; i < 8; ++i) r[i] = i < n_rows ? Quants::load(rows + i * row_bytes) : _mm256_setzero_si256();
  __m256i pairs[8];
  for (int i = 0; i < 8; i += 2) {
    pairs[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
    pairs[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
  }
  for (int half = 0; half < 2; ++half) {
    const __m256i* p = pairs + 4 * half;
    r[4 * half] = _mm256_unpacklo_epi64(p[0], p[2]);
    r[4 * half + 1] = _mm256_unpackhi_epi64(p[0], p[2]);
    r[4 * half + 2] = _mm256_unpacklo_epi64(p[1], p[3]);
    r[4 * half + 3] = _mm256_unpackhi_epi64(p[1], p[3]);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + i * to_stride),
                        _mm256_permute2x128_si256(r[i], r[4 + i], 0x20));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + (4 + i) * to_stride),
                        _mm256_permute2x128_si256(r[i], r[4 + i], 0x31));
  }
}

}  // namespace galago::kernels::GALAGO_ISA
