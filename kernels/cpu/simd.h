// A vector of floats, as wide as the instruction set that this file is compiled for. Everything is in a
// namespace of that set, so that no linker can mix the copies.
//
// The build defines GALAGO_ISA, the set's name; GALAGO_AVX2 or GALAGO_AVX512, the vectors' kind; and what the
// set has beyond: GALAGO_VNNI, GALAGO_BF16.
#pragma once

#include "kernels/cpu/kernels.h"

#define GALAGO_INLINE static inline __attribute__((always_inline))

#if defined(GALAGO_AVX512)
#include "kernels/cpu/simd_avx512.h"
#elif defined(GALAGO_AVX2)
#include "kernels/cpu/simd_avx2.h"
#else
#include "kernels/cpu/simd_portable.h"
#endif
