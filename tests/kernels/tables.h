// Every kernel test runs once for each instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <ostream>
#include <string>
#include <vector>

#include "backend/cpu/kernel_choice.h"
#include "base/cpu_features.h"

namespace galago::kernels {

/// How test names show a table, instead of its address.
inline void PrintTo(const KernelTable* table, std::ostream* stream) {
  *stream << table->name;
}

}  // namespace galago::kernels

#if defined(GALAGO_EMULATED_KERNELS)
namespace galago::kernels::emulated_avx_vnni {
const KernelTable& table();
}
namespace galago::kernels::emulated_avx512 {  // with VNNI
const KernelTable& table();
}
namespace galago::kernels::emulated_avx512_bf16 {
const KernelTable& table();
}
namespace galago::kernels::emulated_amx {
const KernelTable& table();
}
#endif

namespace galago::testing {

class KernelTest : public ::testing::TestWithParam<const kernels::KernelTable*> {
 protected:
  const kernels::KernelTable& kernels() const { return *GetParam(); }
};

/// Those that this machine runs, and those that it runs with the instructions that it lacks emulated.
inline std::vector<const kernels::KernelTable*> tables_to_test() {
  const auto runnable = backend::runnable_kernels();
  std::vector<const kernels::KernelTable*> tables(runnable.begin(), runnable.end());
#if defined(GALAGO_EMULATED_KERNELS)
  if (cpu_features().avx2_fma_f16c) {
    tables.push_back(&kernels::emulated_avx_vnni::table());
    tables.push_back(&kernels::emulated_avx512::table());
    tables.push_back(&kernels::emulated_avx512_bf16::table());
    tables.push_back(&kernels::emulated_amx::table());
  }
#endif
  return tables;
}

/// Those of them that multiply BF16.
inline std::vector<const kernels::KernelTable*> bf16_tables_to_test() {
  auto tables = tables_to_test();
  tables.erase(std::remove_if(tables.begin(), tables.end(),
                              [](const kernels::KernelTable* table) { return !table->multiplies_bf16; }),
               tables.end());
  return tables;
}

inline auto every_table() {
  return ::testing::ValuesIn(tables_to_test());
}

inline std::string table_name(const ::testing::TestParamInfo<const kernels::KernelTable*>& info) {
  return info.param->name;
}

}  // namespace galago::testing
