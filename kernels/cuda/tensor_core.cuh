// Tensor cores, and copies to shared memory that pass by the registers: mma.sync, ldmatrix and cp.async,
// which devices have from sm_80 on; below that they end the kernel. tests/simt/tensor_core.h has the emulated
// ones.
#pragma once

#include "kernels/cuda/primitives.cuh"

#if defined(GALAGO_SIMT)
#include "simt/tensor_core.h"
#endif

namespace galago::kernels::GALAGO_DEVICE_SPACE {

/// Two 16-bit numbers lie in a word, the first in its low half. With g = lane / 4 and t = lane % 4 a lane
/// holds of a [16, 16]: rows g and g + 8 at columns 2 t, 2 t + 1 (words 0, 1) and 2 t + 8, 2 t + 9 (words 2,
/// 3)
struct FragmentA {
  std::uint32_t words[4];
};
/// of b [16, 8]: column g at rows 2 t, 2 t + 1 (word 0) and 2 t + 8, 2 t + 9 (word 1)
struct FragmentB {
  std::uint32_t words[2];
};
/// of c [16, 8]: row g at columns 2 t, 2 t + 1 (values 0, 1) and row g + 8 likewise (2, 3).
struct FragmentC {
  float values[4];
};

#if defined(GALAGO_SIMT)

template <class T>
void multiply_add(FragmentC& c, const FragmentA& a, const FragmentB& b) {
  simt::multiply_add(c.values, a.words, b.words,
                     std::is_same_v<T, Half> ? simt::widen_half : simt::widen_bfloat16);
}

#else

#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define GALAGO_SINCE_SM80(...) __trap()
#else
#define GALAGO_SINCE_SM80(...) asm volatile(__VA_ARGS__)
#endif

/// c += a b
template <class T>
__device__ __forceinline__ void multiply_add(FragmentC& c, const FragmentA& a, const FragmentB& b);

#define GALAGO_MULTIPLY_ADD(T, name)                                                                         \
  template <>                                                                                                \
  __device__ __forceinline__ void multiply_add<T>(FragmentC & c, const FragmentA& a, const FragmentB& b) {   \
    GALAGO_SINCE_SM80("mma.sync.aligned.m16n8k16.row.col.f32." name "." name                                 \
                      ".f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"                           \
                      : "+f"(c.values[0]), "+f"(c.values[1]), "+f"(c.values[2]), "+f"(c.values[3])           \
                      : "r"(a.words[0]), "r"(a.words[1]), "r"(a.words[2]), "r"(a.words[3]), "r"(b.words[0]), \
                        "r"(b.words[1]));                                                                    \
  }
GALAGO_MULTIPLY_ADD(Half, "f16")
GALAGO_MULTIPLY_ADD(Bfloat16, "bf16")
#undef GALAGO_MULTIPLY_ADD

__device__ __forceinline__ unsigned shared_address(const void* at) {
  return static_cast<unsigned>(__cvta_generic_to_shared(at));
}

/// Four matrices [8, 8]: lane i names row i % 8 of matrix i / 8, and gets of each, in row lane / 4, the
/// elements 2 (lane % 4) and the next. Rows begin at multiples of 16 bytes.
__device__ __forceinline__ void load_matrices(std::uint32_t (&words)[4], const Half* row) {
  GALAGO_SINCE_SM80("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                    : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                    : "r"(shared_address(row))
                    : "memory");
}
/// The same of the matrices' transposes.
__device__ __forceinline__ void load_transposed(std::uint32_t (&words)[4], const Half* row) {
  GALAGO_SINCE_SM80("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                    : "=r"(words[0]), "=r"(words[1]), "=r"(words[2]), "=r"(words[3])
                    : "r"(shared_address(row))
                    : "memory");
}

/// Begins to copy 16 bytes, both sides at multiples of 16: the first n_bytes from `from`, the others are 0.
template <class T>
__device__ __forceinline__ void copy_async(T* to, const void* from, int n_bytes) {
  GALAGO_SINCE_SM80("cp.async.cg.shared.global.L2::128B [%0], [%1], 16, %2;"
                    :
                    : "r"(shared_address(to)), "l"(from), "r"(n_bytes)
                    : "memory");
}
/// The copies that this thread began since the last commit are a group.
__device__ __forceinline__ void commit_copies() {
  GALAGO_SINCE_SM80("cp.async.commit_group;" ::: "memory");
}
/// Waits for this thread's groups but the last n_left; others see them after a barrier.
template <int n_left>
__device__ __forceinline__ void wait_for_copies() {
  GALAGO_SINCE_SM80("cp.async.wait_group %0;" ::"n"(n_left) : "memory");
}

#endif

/// Two FP16 numbers in a word.
__device__ __forceinline__ std::uint32_t pack_halves(float low, float high) {
#if defined(GALAGO_SIMT)
  return narrow_half(low).bits | static_cast<std::uint32_t>(narrow_half(high).bits) << 16;
#else
  const __half2 both = __floats2half2_rn(low, high);
  return *reinterpret_cast<const std::uint32_t*>(&both);
#endif
}
/// Bytes 0 and 1 of a word, or 2 and 3, as FP16 numbers that are 1024 higher: exact, and without conversions.
template <int first>
__device__ __forceinline__ std::uint32_t halves_of_bytes(std::uint32_t word) {
#if defined(GALAGO_SIMT)
  const std::uint32_t bytes = word >> 8 * first;
  return 0x64006400U | (bytes & 0xffU) | (bytes >> 8 & 0xffU) << 16;
#else
  return __byte_perm(word, 0x64646464U, first == 0 ? 0x4140 : 0x4342);
#endif
}

/// (a - b) * scale + offset of two FP16 numbers each.
__device__ __forceinline__ std::uint32_t scale_halves(std::uint32_t a, std::uint32_t b, std::uint32_t scale,
                                                      std::uint32_t offset) {
#if defined(GALAGO_SIMT)
  const auto one = [&](unsigned shift) {
    const auto number = [shift](std::uint32_t pair) {
      return widen(Half{static_cast<std::uint16_t>(pair >> shift)});
    };
    const float difference = widen(narrow_half(number(a) - number(b)));
    return static_cast<std::uint32_t>(narrow_half(difference * number(scale) + number(offset)).bits) << shift;
  };
  return one(0) | one(16);
#else
  const auto pair = [](const std::uint32_t& word) { return *reinterpret_cast<const __half2*>(&word); };
  const __half2 result = __hfma2(__hsub2(pair(a), pair(b)), pair(scale), pair(offset));
  return *reinterpret_cast<const std::uint32_t*>(&result);
#endif
}

/// The same, numbers beyond FP16's becoming its largest.
__device__ __forceinline__ std::uint32_t pack_saturated(float low, float high) {
  constexpr float largest = 65504.0F;
  return pack_halves(fminf(fmaxf(low, -largest), largest), fminf(fmaxf(high, -largest), largest));
}

}  // namespace galago::kernels::GALAGO_DEVICE_SPACE
