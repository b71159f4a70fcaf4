#include "base/cpu_features.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <string>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace galago {
namespace {

#if defined(__x86_64__)
struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

Registers query(unsigned leaf, unsigned subleaf) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool bit(unsigned value, int index) {
  return ((value >> index) & 1U) != 0;
}

/// Register state that the operating system saves and restores (XCR0).
unsigned long long saved_state() {
  if (!bit(query(1, 0).ecx, 27)) return 0;  // OSXSAVE
  unsigned low = 0;
  unsigned high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<unsigned long long>(high) << 32 | low;
}

/// Tiles are eight KiB of state more for every thread that touches them: Linux has each process ask for them
/// (Documentation/arch/x86/xstate.rst). Threads that are started later have the leave, too.
bool may_use_tiles() {
  constexpr int request_permission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr int tile_data = 18;               // XFEATURE_XTILEDATA
  return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
}

CpuFeatures detect() {
  constexpr unsigned long long ymm_state = 0x6;
  constexpr unsigned long long zmm_state = 0xe6;
  constexpr unsigned long long tile_state = 0x60000;
  const unsigned long long saved = saved_state();
  const Registers one = query(1, 0);
  const Registers seven = query(7, 0);
  const Registers seven_one = query(7, 1);
  CpuFeatures features;
  if ((saved & ymm_state) == ymm_state) {
    features.avx2_fma_f16c = bit(seven.ebx, 5) && bit(one.ecx, 12) && bit(one.ecx, 29);
    features.avx_vnni = bit(seven_one.eax, 4);
  }
  if ((saved & zmm_state) == zmm_state) {
    features.avx512 = bit(seven.ebx, 16) && bit(seven.ebx, 17) && bit(seven.ebx, 30) && bit(seven.ebx, 31);
    features.avx512_vnni = bit(seven.ecx, 11);
    features.avx512_bf16 = bit(seven_one.eax, 5);
  }
  const bool amx_bf16 = bit(seven.edx, 22);
  const bool amx_int8 = bit(seven.edx, 25);
  if ((saved & tile_state) == tile_state && (amx_bf16 || amx_int8) && may_use_tiles()) {
    features.amx_bf16 = amx_bf16;
    features.amx_int8 = amx_int8;
  }
  return features;
}
#else
CpuFeatures detect() {
  return {};
}
#endif

}  // namespace

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

std::string to_string(const CpuFeatures& features) {
  std::string text;
  const auto add = [&](bool present, const char* name) {
    if (!present) return;
    if (!text.empty()) text += ' ';
    text += name;
  };
  add(features.avx2_fma_f16c, "avx2");
  add(features.avx_vnni, "avx_vnni");
  add(features.avx512, "avx512");
  add(features.avx512_vnni, "avx512_vnni");
  add(features.avx512_bf16, "avx512_bf16");
  add(features.amx_int8, "amx_int8");
  add(features.amx_bf16, "amx_bf16");
  return text.empty() ? "none" : text;
}

}  // namespace galago
