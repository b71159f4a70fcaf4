// How safetensors headers spell the element types.
#pragma once

#include <array>
#include <string_view>

#include "tensor/dtype.h"

namespace galago::checkpoint {

struct DTypeName {
  DType dtype;
  std::string_view name;
};

inline constexpr std::array<DTypeName, 10> dtype_names = {{{DType::f32, "F32"},
                                                           {DType::f16, "F16"},
                                                           {DType::bf16, "BF16"},
                                                           {DType::i64, "I64"},
                                                           {DType::i32, "I32"},
                                                           {DType::i16, "I16"},
                                                           {DType::i8, "I8"},
                                                           {DType::u8, "U8"},
                                                           {DType::boolean, "BOOL"},
                                                           {DType::f64, "F64"}}};

}  // namespace galago::checkpoint
