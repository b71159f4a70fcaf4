// Every kernel test runs once for each instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "backend/cpu/kernel_choice.h"

namespace galago::kernels {

/// How test names show a table, instead of its address.
inline void PrintTo(const KernelTable* table, std::ostream* stream) {
  *stream << table->name;
}

}  // namespace galago::kernels

namespace galago::testing {

class KernelTest : public ::testing::TestWithParam<const kernels::KernelTable*> {
 protected:
  const kernels::KernelTable& kernels() const { return *GetParam(); }
};

inline auto every_table() {
  const auto tables = backend::runnable_kernels();
  return ::testing::ValuesIn(tables.begin(), tables.end());
}

inline std::string table_name(const ::testing::TestParamInfo<const kernels::KernelTable*>& info) {
  return info.param->name;
}

}  // namespace galago::testing
