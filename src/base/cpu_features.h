// What the processor and the operating system together can run. A set, not a ladder: each is there or not.
#pragma once

#include <string>

namespace galago {

struct CpuFeatures {
  bool avx2_fma_f16c = false;
  bool avx_vnni = false;  ///< VNNI on 256 bits without AVX-512
  bool avx512 = false;    ///< F, BW, DQ and VL
  bool avx512_vnni = false;
  bool avx512_bf16 = false;
  bool amx_int8 = false;  ///< with the operating system's leave to use tiles, as amx_bf16
  bool amx_bf16 = false;
};

/// Asked of the processor once.
const CpuFeatures& cpu_features();

/// "avx2 avx512 avx512_vnni", or "none"
std::string to_string(const CpuFeatures& features);

}  // namespace galago
