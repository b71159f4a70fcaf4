#include "backend/cpu/kernel_choice.h"

#include <cstdlib>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"
#include "base/fail.h"

namespace galago::backend {
namespace {

std::vector<const kernels::KernelTable*> find_runnable() {
  std::vector<const kernels::KernelTable*> tables{&kernels::portable::table()};
#if defined(GALAGO_X86_KERNELS)
  const CpuFeatures& features = cpu_features();
  if (!features.avx2_fma_f16c) return tables;
  tables.push_back(&kernels::avx2::table());
  if (features.avx_vnni) tables.push_back(&kernels::avx_vnni::table());
  if (!features.avx512) return tables;
  tables.push_back(&kernels::avx512::table());
  if (!features.avx512_vnni) return tables;
  tables.push_back(&kernels::avx512_vnni::table());
  if (!features.avx512_bf16) return tables;
  tables.push_back(&kernels::avx512_bf16::table());
  if (features.amx_int8 && features.amx_bf16) tables.push_back(&kernels::amx::table());
#endif
  return tables;
}

}  // namespace

std::span<const kernels::KernelTable* const> runnable_kernels() {
  static const std::vector<const kernels::KernelTable*> tables = find_runnable();
  return tables;
}

const kernels::KernelTable& choose_kernels() {
  const auto runnable = runnable_kernels();
  const char* forced = std::getenv("GALAGO_ISA");
  if (forced == nullptr || *forced == '\0') return *runnable.back();
  std::string names;
  for (const kernels::KernelTable* table : runnable) {
    if (std::string_view(forced) == table->name) return *table;
    if (!names.empty()) names += ", ";
    names += table->name;
  }
  fail(ErrorCode::usage, "GALAGO_ISA is \"{}\", this machine runs {}", forced, names);
}

}  // namespace galago::backend
