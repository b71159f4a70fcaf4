// Resampling of 8-bit RGB pixels: along a row for four rows at once, and sums of rows.
#include "kernels/cpu/simd.h"

namespace galago::kernels::GALAGO_ISA {
namespace {

constexpr std::int64_t n_channels = 3;
constexpr std::int32_t one_half = 1 << (resample_bits - 1);

std::uint8_t to_pixel(std::int32_t sum) {
  const std::int32_t level = sum >> resample_bits;
  return static_cast<std::uint8_t>(level < 0 ? 0 : level > 255 ? 255 : level);
}

/// Output `i` of two rows, whose pixels share the work of putting a weight together.
void resample_two(const std::uint8_t* a, const std::uint8_t* b, const Taps& taps, std::int64_t i,
                  std::uint8_t* to_a, std::uint8_t* to_b) {
  std::int32_t a0 = one_half, a1 = one_half, a2 = one_half;
  std::int32_t b0 = one_half, b1 = one_half, b2 = one_half;
  const std::int16_t* pair = taps.weights + i * taps.stride;
  const std::int64_t begin = taps.first[i] * n_channels;
  const std::int64_t end = begin + taps.count[i] * n_channels;
  const auto add = [&](std::int64_t at, const std::int16_t* parts) {
    const std::int32_t weight = parts[0] * (1 << resample_low_bits) + parts[2];
    a0 += a[at] * weight;
    a1 += a[at + 1] * weight;
    a2 += a[at + 2] * weight;
    b0 += b[at] * weight;
    b1 += b[at + 1] * weight;
    b2 += b[at + 2] * weight;
  };
  std::int64_t at = begin;
  for (; at + n_channels < end; at += 2 * n_channels, pair += 4) {
    add(at, pair);
    add(at + n_channels, pair + 1);
  }
  if (at < end) add(at, pair);
  to_a[0] = to_pixel(a0), to_a[1] = to_pixel(a1), to_a[2] = to_pixel(a2);
  to_b[0] = to_pixel(b0), to_b[1] = to_pixel(b1), to_b[2] = to_pixel(b2);
}

#if defined(GALAGO_AVX2) || defined(GALAGO_AVX512)

/// Sums of the upper and of the lower parts of weights times pixels, [2 rows, red green blue and nothing].
struct Sums {
  __m256i upper, lower;
};

/// Four pixels at the same place of two rows; four bytes behind them are read, too.
GALAGO_INLINE __m256i load_pixels(const std::uint8_t* a, const std::uint8_t* b) {
  const __m256i low = _mm256_castsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(a)));
  return _mm256_inserti128_si256(low, _mm_loadu_si128(reinterpret_cast<const __m128i*>(b)), 1);
}

GALAGO_INLINE __m256i broadcast_pair(const std::int16_t* pair) {
  return _mm256_castps_si256(_mm256_broadcast_ss(reinterpret_cast<const float*>(pair)));
}

/// Adds two taps: `pixels` holds a channel's two values beside each other, in 16 bits.
GALAGO_INLINE void add_taps(Sums& sums, __m256i pixels, __m256i upper, __m256i lower) {
  sums.upper = _mm256_add_epi32(sums.upper, _mm256_madd_epi16(pixels, upper));
  sums.lower = _mm256_add_epi32(sums.lower, _mm256_madd_epi16(pixels, lower));
}

GALAGO_INLINE __m256i levels_of(const Sums& sums) {
  const __m256i whole = _mm256_add_epi32(_mm256_slli_epi32(sums.upper, resample_low_bits),
                                         _mm256_add_epi32(sums.lower, _mm256_set1_epi32(one_half)));
  return _mm256_srai_epi32(whole, resample_bits);
}

GALAGO_INLINE void store_four(std::uint8_t* to, int pixel) {
  __builtin_memcpy(to, &pixel, sizeof pixel);
}

/// Output `i` of four rows, in groups of four taps; the filling of the weights makes nothing of the pixels
/// behind the last.
GALAGO_INLINE void resample_pixels(const std::uint8_t* const* rows, const Taps& taps, std::int64_t i,
                                   std::uint8_t* to, std::int64_t stride) {
  const __m256i first_two =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(0, -1, 3, -1, 1, -1, 4, -1, 2, -1, 5, -1, -1, -1, -1, -1));
  const __m256i last_two =
      _mm256_broadcastsi128_si256(_mm_setr_epi8(6, -1, 9, -1, 7, -1, 10, -1, 8, -1, 11, -1, -1, -1, -1, -1));
  const std::int16_t* weights = taps.weights + i * taps.stride;
  Sums ab{_mm256_setzero_si256(), _mm256_setzero_si256()};
  Sums cd = ab;
  const std::int64_t begin = taps.first[i] * n_channels;
  const std::int64_t end = begin + taps.count[i] * n_channels;
  for (std::int64_t at = begin; at < end; at += 4 * n_channels, weights += 8) {
    const __m256i pixels_ab = load_pixels(rows[0] + at, rows[1] + at);
    const __m256i pixels_cd = load_pixels(rows[2] + at, rows[3] + at);
    const __m256i upper_first = broadcast_pair(weights);
    const __m256i lower_first = broadcast_pair(weights + 2);
    add_taps(ab, _mm256_shuffle_epi8(pixels_ab, first_two), upper_first, lower_first);
    add_taps(cd, _mm256_shuffle_epi8(pixels_cd, first_two), upper_first, lower_first);
    const __m256i upper_last = broadcast_pair(weights + 4);
    const __m256i lower_last = broadcast_pair(weights + 6);
    add_taps(ab, _mm256_shuffle_epi8(pixels_ab, last_two), upper_last, lower_last);
    add_taps(cd, _mm256_shuffle_epi8(pixels_cd, last_two), upper_last, lower_last);
  }
  // Packing works within halves: rows 0 and 2 in the lower one, 1 and 3 in the upper.
  const __m256i words = _mm256_packs_epi32(levels_of(ab), levels_of(cd));
  const __m256i bytes = _mm256_packus_epi16(words, words);
  store_four(to, _mm256_extract_epi32(bytes, 0));
  store_four(to + stride, _mm256_extract_epi32(bytes, 4));
  store_four(to + 2 * stride, _mm256_extract_epi32(bytes, 1));
  store_four(to + 3 * stride, _mm256_extract_epi32(bytes, 5));
}

/// Whether groups of four taps, and the four bytes behind them, are within a row of `n_inputs` pixels.
bool reads_within(const Taps& taps, std::int64_t i, std::int64_t n_inputs) {
  const std::int64_t read = taps.first[i] + (taps.count[i] + 3) / 4 * 4;
  return read * n_channels + 4 <= n_inputs * n_channels;
}

#endif

}  // namespace

void resample_columns(const std::uint8_t* const* rows, std::int64_t n_inputs, const Taps& taps,
                      std::uint8_t* to, std::int64_t stride) {
  for (std::int64_t i = 0; i < taps.n; ++i, to += n_channels) {
#if defined(GALAGO_AVX2) || defined(GALAGO_AVX512)
    if (reads_within(taps, i, n_inputs)) {
      resample_pixels(rows, taps, i, to, stride);
      continue;
    }
#else
    static_cast<void>(n_inputs);
#endif
    resample_two(rows[0], rows[1], taps, i, to, to + stride);
    resample_two(rows[2], rows[3], taps, i, to + 2 * stride, to + 3 * stride);
  }
}

void add_rows(const std::uint8_t* const* rows, const std::int32_t* weights, std::int32_t* __restrict sums,
              std::int64_t n) {
  const std::uint8_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
  const std::int32_t w0 = weights[0], w1 = weights[1], w2 = weights[2], w3 = weights[3];
  for (std::int64_t i = 0; i < n; ++i) sums[i] += a[i] * w0 + b[i] * w1 + c[i] * w2 + d[i] * w3;
}

void round_sums(const std::int32_t* sums, std::uint8_t* __restrict to, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) to[i] = to_pixel(sums[i] + one_half);
}

}  // namespace galago::kernels::GALAGO_ISA
