// Every kernel test runs once for each instruction set that this machine has.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "backend/cpu/kernel_choice.h"

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
